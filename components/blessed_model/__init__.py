"""Finds the model that was blessed last, for evaluations to compare with."""
