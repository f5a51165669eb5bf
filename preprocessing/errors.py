"""Errors that are the user's to mend: each message names the file or value and the remedy."""


class UsageError(ValueError):
    """Wrong usage, configuration or data. The command line prints its message and exits with 2."""
