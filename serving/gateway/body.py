"""Request bodies: the file itself, or a form with the file in it; plain or gzip."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from serving.gateway.refusals import Refused

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

HOW_TO_SEND = (
    "send the picture or video itself as the body (curl --data-binary @FILE URL) or as a form "
    "(curl -F file=@FILE URL)"
)
# Bytes beyond the file's own that a form may have.
FORM_BYTES = 64 << 10
# Types of bodies that are surely no picture or video; any other is looked at.
_NO_FILES = ("application/json", "application/xml", "text/", "multipart/")
_STEP = 1 << 20
# An object, or an array with something in it; a PLS playlist begins with a bracket as well.
_JSON = re.compile(rb"\s*(?:\{|\[\s*[\[{\"\d-])")


def too_large(limit: int) -> Refused:
    """413."""
    return Refused(413, f"the file is larger than {limit} bytes", "too_large")


class Body:
    """Takes a request's body apart and writes the file that is in it.

    Args:
      headers: headers of the request.
      file: binary file that is written to.
      limit: bytes of the file, after decompression.

    Attributes:
      size: bytes of the file so far.
      name: name that a form gives the file; empty without one.

    Raises:
      Refused: 415, the headers tell of a kind of body that holds no file.
    """

    def __init__(self, headers: Mapping[bytes, bytes], file: BinaryIO, limit: int):
        self._file = file
        self._limit = limit
        self.size = 0
        self._form = _form_of(headers.get(b"content-type", b""), self._write)
        self._gzip = _gzip_of(headers.get(b"content-encoding", b""))

    @property
    def name(self) -> str:
        """That a form gives the file; empty without one."""
        return self._form.name if self._form else ""

    def feed(self, data: bytes) -> None:
        """Takes the next bytes in; blocks while the disk does.

        Raises:
          Refused: 413, too large; 400, the form or the compression is broken.
        """
        if self._gzip is None:
            self._parse(data)
            return
        try:
            full = False
            while data or full:
                if self._gzip.eof:
                    raise Refused(400, "there is something after the gzip stream", "unreadable")
                plain = self._gzip.decompress(data, _STEP)
                self._parse(plain)
                data = self._gzip.unconsumed_tail or self._gzip.unused_data
                # What did not fit in may come without more input.
                full = len(plain) == _STEP and not self._gzip.eof
        except zlib.error:
            raise Refused(
                400, "the body is not gzip, but its Content-Encoding says so", "unreadable"
            ) from None

    def finish(self) -> None:
        """Says that no more comes.

        Raises:
          Refused: 400, the body is cut short, or holds no file.
        """
        if self._gzip is not None and not self._gzip.eof:
            raise Refused(400, "the body's gzip stream is cut short", "unreadable")
        if self._form and not self._form.complete:
            why = "is cut short" if self._form.began else "holds no file"
            raise Refused(400, f"the form {why}; {HOW_TO_SEND}", "unreadable")
        if not self.size:
            raise Refused(400, f"the file is empty; {HOW_TO_SEND}", "unreadable")

    def _parse(self, data: bytes) -> None:
        if self._form:
            self._form.feed(data)
        else:
            self._write(data)

    def _write(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._limit:
            raise too_large(self._limit)
        self._file.write(data)


class _Form:
    """multipart/form-data (RFC 7578), of which the first file is taken.

    Args:
      boundary: boundary between the parts.
      write: function that takes the file's bytes.

    Attributes:
      name: name of the file.
      began: whether a file began.
      complete: whether it also ended.
    """

    def __init__(self, boundary: bytes, write: Callable[[bytes], None]):
        self._write = write
        self._taking = False
        self._key, self._value = b"", b""
        self.name = ""
        self.began = self.complete = False
        callbacks: MultipartCallbacks = {
            "on_part_data": self._on_data,
            "on_part_end": self._on_end,
            "on_header_field": self._on_key,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:  # The boundary is too long.
            raise _broken_form() from error

    def feed(self, data: bytes) -> None:
        """Takes the next bytes in."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _broken_form() from error

    def _on_key(self, data: bytes, start: int, end: int) -> None:
        self._key += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        if self._key.lower() == b"content-disposition" and not self.began:
            _, options = parse_options_header(self._value)
            if b"filename" in options:
                self.began = self._taking = True
                self.name = options[b"filename"].decode("utf-8", "replace")
        self._key, self._value = b"", b""

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._taking:
            self._write(data[start:end])

    def _on_end(self) -> None:
        self.complete = self.complete or self._taking
        self._taking = False


def _broken_form() -> Refused:
    return Refused(400, f"the form is broken; {HOW_TO_SEND}", "unreadable")


def guess(head: bytes) -> str:
    """What a body is that is no picture or video, and whose headers did not say so.

    Args:
      head: first bytes of the file.

    Returns:
      A sentence with the remedy; empty when the bytes are none of the usual mistakes.
    """
    if head[:2] == b"\x1f\x8b":
        return "the body is gzip; say so with the header Content-Encoding: gzip"
    if _JSON.match(head):
        return f"the body looks like JSON; {HOW_TO_SEND}"
    if head[:2] == b"--" and b"content-disposition" in head.lower():
        return f"the body is a form whose Content-Type header is missing; {HOW_TO_SEND}"
    return ""


def _form_of(content_type: bytes, write: Callable[[bytes], None]) -> _Form | None:
    media_type, options = parse_options_header(content_type)
    kind = media_type.decode("latin-1").lower()
    if kind == "multipart/form-data":
        if not options.get(b"boundary"):
            raise Refused(400, f"the form has no boundary; {HOW_TO_SEND}", "unreadable")
        return _Form(options[b"boundary"], write)
    if kind.startswith(_NO_FILES) or kind.endswith(("+json", "+xml")):
        raise Refused(415, f"{kind} is no picture or video; {HOW_TO_SEND}", "unreadable")
    return None


def _gzip_of(encoding: bytes) -> Any:
    """A decompressor; None for a body that is not compressed."""
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return None
    if name in (b"gzip", b"x-gzip"):
        return zlib.decompressobj(wbits=31)
    accept = ((b"accept-encoding", b"gzip"),)
    raise Refused(
        415, "this Content-Encoding is not known; send the body plain or gzip", "unreadable", accept
    )
