"""Errors that users can mend: each message names the file or value and the remedy."""


class UsageError(ValueError):
    """Wrong usage, configuration or data. The command line prints its message and exits with 2."""


def cause(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """Finds an error of a kind under the wrappings of TFX and Beam.

    Beam turns even KeyboardInterrupt, raised while it works, into a RuntimeError.
    """
    current: BaseException | None = error
    while current is not None and not isinstance(current, kind):
        current = current.__cause__ or current.__context__
    return current


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
