"""The open file that media is read from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Protocol

from preprocessing.media.container import check_regular
from preprocessing.media.limits import Limits
from preprocessing.media.media_errors import DecodingFailed, UnreadableMedia


class Readable(Protocol):
    """What is asked of a file that headers are read from."""

    def read(self, size: int = -1, /) -> bytes:
        """As of an open file."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """As of an open file."""

    def tell(self) -> int:
        """As of an open file."""


def open_media(path: str | Path, limits: Limits) -> int:
    """Opens a file to read media from.

    Returns:
      A descriptor, which is the caller's to close.

    Raises:
      UnreadableMedia: it is no regular file, is empty, is larger than the limit, or its name
        cannot be written into a record.
      DecodingFailed: it is absent or cannot be opened.
    """
    path = os.path.abspath(path)  # noqa: PTH100  Path.absolute() keeps `..`.
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise UnreadableMedia("its name is not UTF-8; rename it") from error
    try:
        # Opening a named pipe that nobody writes to would block for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise DecodingFailed(f"the file cannot be opened: {error.strerror}") from error
    try:
        size = check_regular(descriptor)
        if limits.bytes is not None and size > limits.bytes:
            raise UnreadableMedia(f"it has {size} bytes; the limit is {limits.bytes} bytes")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class Watched:
    """A file that remembers that reading it failed, which decoders tell like a damaged file.

    Attributes:
      failed: the first error; None while there was none.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self.failed: OSError | None = None

    def read(self, size: int = -1) -> bytes:
        """As of an open file."""
        try:
            return self._file.read(size)
        except OSError as error:
            self.failed = self.failed or error
            raise

    def seek(self, offset: int, whence: int = 0) -> int:
        """As of an open file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As of an open file."""
        return self._file.tell()

    def check(self) -> None:
        """Raises DecodingFailed where reading has failed."""
        if self.failed is not None:
            raise DecodingFailed(
                f"the file cannot be read: {self.failed.strerror}"
            ) from self.failed
