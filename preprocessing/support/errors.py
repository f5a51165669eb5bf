"""Errors that are the user's to mend: each message names the file or value and the remedy."""


class UsageError(ValueError):
    """Wrong usage, configuration or data. The command line prints its message and exits with 2."""


def cause(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """Finds an error of a kind under the wrappings of TFX and Beam.

    Beam turns even KeyboardInterrupt, raised while it works, into a RuntimeError.
    """
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, kind):
        seen = seen.__cause__ or seen.__context__
    return seen
