"""The Transform node's own code."""
