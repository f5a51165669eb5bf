"""The Trainer node's own code."""
