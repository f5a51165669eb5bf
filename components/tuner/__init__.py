"""The Tuner node's own code."""
