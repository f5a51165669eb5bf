"""Clips that are kept as a folder of pictures, one for each frame.

Many copies of FaceForensics++ and Celeb-DF hold the frames only (`frames/000/0012.png`).
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from preprocessing.media.container import IMAGE_ENDINGS

if TYPE_CHECKING:
    from preprocessing.media.frame import Frame


def frame_files(folder: Path) -> list[Path]:
    """The pictures of a clip's frames, in the order of the numbers in their names.

    Raises:
      OSError: the folder cannot be read.
    """
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if not e.name.startswith(".") and not e.is_dir()]
    names = [name for name in names if Path(name).suffix.lower() in IMAGE_ENDINGS]
    return [folder / name for name in sorted(names, key=_natural)]


def sample_folder(
    folder: Path,
    decode: Callable[[Path], Iterator[Frame]],
    count: int,
    indices: Sequence[int] | None = None,
) -> Iterator[Frame]:
    """Yields frames evenly spread over a folder of pictures, as `sample_frames` does for a video.

    Args:
      folder: holds the pictures of one clip and nothing else.
      decode: yields the one frame of a picture.
      count: how many frames are wanted.
      indices: the numbers of the frames that are wanted, rising, instead of evenly spread ones;
        those that the folder does not have are left out.

    Yields:
      Frames with increasing index: the number in the picture's name where each name is another
      number, else the position. The time stamp is 0, since nothing tells the frame rate.

    Raises:
      UnreadableMedia: the folder is empty, or a picture cannot be decoded, which is named.
      DecodingFailed: the folder or a picture cannot be read now.
    """
    from preprocessing.media.frame import middles
    from preprocessing.media.media_errors import DecodingFailed, UnreadableMedia

    try:
        files = frame_files(folder)
    except OSError as error:
        raise DecodingFailed(f"the folder cannot be read: {error.strerror}") from error
    if not files:
        raise UnreadableMedia("the folder of frames is empty")
    numbered = dict(zip(_numbers(files), files, strict=True))
    if indices is None:
        numbers = list(numbered)
        indices = [numbers[position] for position in middles(len(numbers), count)]
    for index in indices:
        if index not in numbered:
            continue
        try:
            frames = list(decode(numbered[index]))
        except (UnreadableMedia, DecodingFailed) as error:
            raise type(error)(f"frame {numbered[index].name}: {error}") from error
        for frame in frames[:1]:
            yield dataclasses.replace(frame, index=index, file=numbered[index])


def _numbers(files: Sequence[Path]) -> list[int]:
    numbers = [int(file.stem) if file.stem.isdecimal() else -1 for file in files]
    rising = all(before < after for before, after in itertools.pairwise(numbers))
    return numbers if rising and numbers[0] >= 0 else list(range(len(files)))


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sorts 9.png before 10.png."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts], name
