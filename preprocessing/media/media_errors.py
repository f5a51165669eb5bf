"""Errors of reading a media file: unreadable files, and passing faults."""

from __future__ import annotations


class UnreadableMedia(ValueError):
    """A property of the file's bytes keeps it from being decoded; asking again changes nothing.

    The message is the reason that reports and answers give: it names the format or codec, and a
    remedy where there is one.
    """


class DecodingFailed(RuntimeError):
    """A passing fault: the file is absent or cannot be read now, or its decoder crashed or hung.

    Nothing is known about the file's content, so the result must not be remembered as a property
    of the file; another try may succeed.
    """


class DeadlinePassed(DecodingFailed):
    """The caller's deadline passed while the file was being decoded; the decoder was ended."""
