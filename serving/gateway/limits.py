"""Limits on the resources that files and jobs may take."""

from __future__ import annotations

import dataclasses

from preprocessing.media.limits import Limits


@dataclasses.dataclass(frozen=True)
class FileLimits:
    """Limits on one file; a file beyond one of them is refused.

    Attributes:
      bytes: bytes of the file.
      pixels: pixels of a frame; phones record at most 8 megapixels, and take pictures of 12 or
        more, which they store smaller for sending.
      packets: packets of a video; 400000 are an hour and a half at 60 frames a second, with sound.
      seconds: seconds that a video plays.
      worker_bytes: bytes of data that a worker may hold, what the libraries need included; with a
        frame of 16 megapixels it was 0.7 GB.
    """

    bytes: int = 200_000_000
    pixels: int = 16_000_000
    packets: int = 400_000
    seconds: float = 3600.0
    worker_bytes: int = 2 << 30

    def of_decoder(self) -> Limits:
        """The limits of the decoder; the gateway itself bounds the time."""
        return Limits(
            pixels=self.pixels, packets=self.packets, seconds=self.seconds, bytes=self.bytes
        )


@dataclasses.dataclass(frozen=True)
class JobLimits:
    """What jobs may take.

    Attributes:
      unfinished: jobs that may wait or run; one more is refused.
      seconds: seconds for a job, once it runs.
      keep: seconds for which a result is kept.
      at_once: jobs that may run at once.
      film_bytes: bytes of the films of ended jobs; beyond it the oldest are deleted, and the newest
        stays whatever its size.
    """

    unfinished: int = 8
    seconds: float = 3600.0
    keep: float = 3600.0
    at_once: int = 1
    film_bytes: int = 1_000_000_000
