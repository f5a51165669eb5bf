"""Limits on the resources that decoding one media file may take."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds of what is decoded; a file beyond one of them is unreadable, and the reason names it.

    The defaults suit datasets that their owner has chosen. A service that takes files from anyone
    sets tighter ones.

    Attributes:
      pixels: of a frame, as stored and as shown. Larger ones take gigabytes to decode.
      packets: of a film, which are its frames; 5 million are 23 hours at 60 frames a second.
      seconds: that a film may play; None for any.
      bytes: of the file; None for any.
      wall_seconds: that the caller may wait for the decoder, over one file; None for any. Exceeding
        it is a `DecodingFailed`, because it depends on the machine.
    """

    pixels: int = 64_000_000
    packets: int = 5_000_000
    seconds: float | None = None
    bytes: int | None = None
    wall_seconds: float | None = 3600.0
