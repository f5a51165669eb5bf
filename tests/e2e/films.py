"""A film whose verdict takes longer than a container takes to be stopped."""

from pathlib import Path

import cv2
from e2e.containers import MEDIA
from wrapped_media import encode

from preprocessing.media.video import sample_frames


def long_film(folder: Path) -> bytes:
    """An MP4 of a face in frames of 1280x720 pixels, of seconds of work.

    Args:
      folder: for the file; it is there.
    """
    frames = [frame.pixels for frame in sample_frames(MEDIA / "anareal121.mp4", 25)]
    large = [cv2.resize(frame, (1280, 720)) for frame in frames]
    return encode(folder / "film.mp4", large * 3, options={"preset": "ultrafast"}).read_bytes()
