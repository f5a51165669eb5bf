"""The node that serves a model and compares its answers with the evaluation."""
