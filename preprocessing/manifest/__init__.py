"""The manifest: the clips of a dataset with their hashes and their division into splits."""
