"""Clips that are kept as pictures, one or more for each frame.

Many copies of FaceForensics++, Celeb-DF and DFDC hold frames or faces only: a folder for each clip
(`frames/000/0012.png`), or files whose names say which clip they are of
(`id0_0001_frame_12_face_0.jpg`).
"""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from preprocessing.media.container import IMAGE_ENDINGS, sniff
from preprocessing.media.picture_names import natural_order, picture_name
from preprocessing.support.files import is_folder, scan

if TYPE_CHECKING:
    from preprocessing.media.frame import Frame, MediaInfo

# A file, a folder that holds the pictures of one clip and nothing else, or these pictures.
Media = str | Path | Sequence[Path]


def frame_files(folder: Path) -> list[Path]:
    """The pictures of a clip's frames, in the order of the numbers in their names.

    Raises:
      OSError: the folder cannot be read.
    """
    names = [
        entry.name
        for entry in scan(folder)
        if not entry.name.startswith(".") and not is_folder(entry)
    ]
    names = [name for name in names if Path(name).suffix.lower() in IMAGE_ENDINGS]
    return [folder / name for name in sorted(names, key=natural_order)]


def pictures_of(media: Media) -> list[Path] | None:
    """The pictures of a clip that is kept as pictures; None for one file.

    Raises:
      UnreadableMedia: the folder is empty.
      DecodingFailed: the folder cannot be read now.
    """
    from preprocessing.media.media_errors import DecodingFailed, UnreadableMedia

    if not isinstance(media, str | Path):
        return list(media)
    if not Path(media).is_dir():
        return None
    try:
        files = frame_files(Path(media))
    except OSError as error:
        raise DecodingFailed(f"the folder cannot be read: {error.strerror}") from error
    if not files:
        raise UnreadableMedia("the folder of frames is empty")
    return files


def may_lend(original: Media, fake: Media, count: int) -> bool:
    """Whether the frames of a fake and of its original with equal numbers show the same moments.

    Those of two films do. Pictures were numbered by whoever cut them out, frame by frame or in
    steps: at least half of the larger clip's numbers must be in both clips, and the sampled frames
    of the original must have at least half as many partners as the fake has sampled frames. Those
    of a film and of pictures tell nothing about each other.

    Args:
      original: the clip that the fake was made from.
      fake: its file, or its pictures, at least one.
      count: how many frames of each clip are wanted.

    Returns:
      False also where the original is not there, or is an empty folder.

    Raises:
      DecodingFailed: a folder cannot be read now.
    """
    from preprocessing.media.media_errors import UnreadableMedia

    if not all(map(os.path.exists, [original] if isinstance(original, str | Path) else original)):
        return False
    try:
        pictures, pictures_of_fake = pictures_of(original), pictures_of(fake)
    except UnreadableMedia:
        return False
    if pictures is None or pictures_of_fake is None:
        files = [cast("str | Path", media) for media in (original, fake)]
        return pictures is pictures_of_fake and _of_one_kind(files)
    numbers, numbers_of_fake = _numbered(pictures).keys(), _numbered(pictures_of_fake).keys()
    shared = len(numbers & numbers_of_fake)
    if 2 * shared < max(len(numbers), len(numbers_of_fake)):
        return False
    paired = len(numbers_of_fake & set(_spread(numbers, count)))
    return 2 * paired >= min(count, len(numbers_of_fake))


def sample_pictures(
    files: Sequence[Path],
    decode: Callable[[Path], Iterator[Frame]],
    count: int,
    indices: Sequence[int] | None = None,
    tell: Callable[[MediaInfo], None] | None = None,
) -> Iterator[Frame]:
    """Yields frames evenly spread over a clip's pictures, as `sample_frames` does for a video.

    Pictures that cannot be decoded are left out, as damaged frames of a video are.

    Args:
      files: the pictures of one clip, at least one.
      decode: yields the one frame of a picture.
      count: how many frames are wanted. A frame may have several pictures, one for each face,
        which all come.
      indices: the numbers of the frames that are wanted, rising, instead of evenly spread ones;
        those that the clip does not have are left out.
      tell: told of the pictures that were left out.

    Yields:
      Frames of rising index: the number of the frame in the picture's name, where each name tells
      another frame or face, else the position. `track` is the number of the face in the name. The
      time stamp is 0, since nothing tells the frame rate.

    Raises:
      UnreadableMedia: none of the wanted pictures can be decoded; the first is named.
      DecodingFailed: a picture cannot be read now.
    """
    from preprocessing.media.frame import MediaInfo
    from preprocessing.media.media_errors import DecodingFailed, UnreadableMedia

    numbered = _numbered(files)
    if indices is None:
        indices = _spread(numbered, count)
    chosen = [(index, *picture) for index in indices for picture in numbered.get(index, ())]
    damaged: list[UnreadableMedia] = []
    for index, track, file in chosen:
        try:
            frames = list(decode(file))
        except UnreadableMedia as error:
            damaged.append(UnreadableMedia(f"frame {_in_messages(file)}: {error}"))
            continue
        except DecodingFailed as error:
            raise DecodingFailed(f"frame {_in_messages(file)}: {error}") from error
        for frame in frames[:1]:
            yield dataclasses.replace(frame, index=index, track=track, file=file)
    if damaged and len(damaged) == len(chosen):
        raise damaged[0]
    if damaged and tell:
        note = f"{len(damaged)} of {len(chosen)} pictures were left out: {damaged[0]}"
        tell(MediaInfo("pictures", frames=len(numbered), notes=(note,)))


def _in_messages(file: Path) -> str:
    """A file's name; bytes that are not UTF-8, which no stream takes, are escaped."""
    return file.name.encode("utf-8", "backslashreplace").decode("utf-8")


def _of_one_kind(files: Sequence[str | Path]) -> bool:
    """Whether all are films, or all pictures; True where one is neither, as its reader will say."""
    from preprocessing.media.media_errors import UnreadableMedia

    try:
        return len({sniff(file).reader for file in files}) == 1
    except (UnreadableMedia, OSError):
        return True


def _spread(numbers: Collection[int], count: int) -> list[int]:
    """`count` of the numbers, evenly spread and rising; all where there are fewer."""
    from preprocessing.media.frame import middles

    rising = sorted(numbers)
    return [rising[position] for position in middles(len(rising), count)]


def _numbered(files: Sequence[Path]) -> dict[int, list[tuple[int, Path]]]:
    """Number of a frame -> track and file of each of its pictures."""
    parsed = [picture_name(file) for file in files]
    faces = {(name.frame, name.face) for name in parsed if name.frame is not None}
    numbered: dict[int, list[tuple[int, Path]]] = defaultdict(list)
    if len(faces) < len(files):  # Numbers that are missing, or that two pictures share.
        return {position: [(0, file)] for position, file in enumerate(files)}
    for name, file in zip(parsed, files, strict=True):
        assert name.frame is not None  # noqa: S101, there are as many numbers as files.
        numbered[name.frame].append((name.face, file))
    return {number: sorted(faces) for number, faces in numbered.items()}
