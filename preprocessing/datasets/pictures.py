"""Groups pictures to clips by their names, and parses clip names of Celeb-DF."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from preprocessing.datasets.clip import FAKE, Clip, Problem, is_video, media
from preprocessing.media.container import FRAME_ENDINGS, IMAGE_ENDINGS, VIDEO_ENDINGS
from preprocessing.media.picture_names import natural_order, picture_name

_CELEB_DF = re.compile(r"(?P<target>id\d+)(?:_(?P<donor>id\d+))?_(?P<number>\d{4})(?:_\d+)?")
# Folders that say how clips are kept, not which ones.
_FOLDERS_OF_FORM = frozenset(("frames", "videos"))


@dataclass(frozen=True)
class ClipFiles:
    """One file, or the pictures of one clip.

    Attributes:
      path: POSIX path of the file, or that the clip has for its id.
      frames: the pictures; () for a file whose name tells no frame.
      clip: path of the clip that the names tell of; empty without one.
      name: the clip's name, without folder and ending.
    """

    path: str
    frames: tuple[str, ...] = ()
    clip: str = ""

    @property
    def name(self) -> str:
        """The clip's, or that of a file without its ending."""
        return PurePosixPath(self.clip).name or PurePosixPath(self.path).stem


def by_clip(paths: Iterable[str], top: str, sure: bool = False) -> list[ClipFiles]:
    """Puts the pictures of one clip together, as `picture_name` reads their names.

    Args:
      paths: POSIX paths of videos and pictures.
      top: the folder that they are in; pictures that stand right in it are not frames of one clip
        because of that.
      sure: leave apart what mere numbers would put together, see `PictureName.sure`.

    Returns:
      One entry for each clip, in the order of the paths. A picture that is alone keeps its path.
    """
    paths = list(paths)
    clips: dict[str, list[str]] = defaultdict(list)
    alone: list[str] = []
    present = frozenset(paths)
    for path in paths:
        clip = clip_of(path, top, sure)
        # A file without an ending may have the name that the clip would get.
        (clips[clip] if clip and clip not in present else alone).append(path)
    entries = [ClipFiles(path) for path in alone]
    for clip, pictures in clips.items():
        pictures.sort(key=natural_order)
        if len(pictures) > 1:
            entries.append(ClipFiles(clip, tuple(pictures), clip))
        else:
            path = pictures[0]
            has_number = picture_name(PurePosixPath(path)).frame is not None
            entries.append(ClipFiles(path, (path,) if has_number else (), clip))
    return sorted(entries, key=lambda media: media.path)


def videos_and_pictures(
    root: Path, folder: str, frames: str = "", sure: bool = True
) -> tuple[list[str], dict[str, tuple[str, ...]], list[Problem]]:
    """The videos below a folder, and the pictures of clips of which there is no video.

    Args:
      root: the dataset's folder.
      folder: POSIX path below it.
      frames: a folder in it that is read by `frame_folders`, and left out here.
      sure: see `by_clip`.

    Returns:
      POSIX paths of the videos, sorted; path of a clip -> its pictures in the order of the frames;
      and what else was met, see `media`.
    """

    def is_read_here(path: str) -> bool:
        return not (frames and path.startswith(f"{frames}/"))

    paths, problems = media(root, folder, VIDEO_ENDINGS | IMAGE_ENDINGS)
    problems = [problem for problem in problems if is_read_here(problem.path)]
    videos: list[str] = []
    pictures: list[str] = []
    for path in filter(is_read_here, paths):
        (videos if is_video(root, path) else pictures).append(path)
    entries, repeated = without_videos(by_clip(pictures, folder, sure), videos)
    problems += repeated
    clips = {}
    for files in entries:
        if files.clip:
            clips[files.clip] = files.frames or (files.path,)
        else:
            problems.append(Problem(files.path, "a picture whose name does not tell its clip"))
    return videos, clips, problems


def without_videos(
    entries: Iterable[ClipFiles], videos: Iterable[str]
) -> tuple[list[ClipFiles], list[Problem]]:
    """Leaves out the pictures of clips that are there as videos: they are not clips besides them.

    Args:
      entries: as `by_clip` gives them.
      videos: POSIX paths of the videos. Folders named `frames` and `videos` set no clips apart.

    Returns:
      The other entries, and a problem for each that is left out.
    """
    present = {_clip_place(PurePosixPath(path).with_suffix("")) for path in videos}
    kept: list[ClipFiles] = []
    problems = []
    for files in entries:
        if files.clip and _clip_place(PurePosixPath(files.clip)) in present:
            reason = "pictures of clips that are there as videos, not read"
            problems.append(Problem(next(iter(files.frames), files.path), reason))
        else:
            kept.append(files)
    return kept, problems


def with_pictures(clips: Iterable[Clip], pictures: Mapping[str, tuple[str, ...]]) -> list[Clip]:
    """The clips, with the pictures of those that `videos_and_pictures` found pictures of."""
    return [replace(clip, frames=pictures.get(clip.path, ())) for clip in clips]


def clip_of(path: str, top: str, sure: bool = False) -> str:
    """Path of the clip that a picture is a frame of, by its name; empty for none.

    Videos and animations are no frames.

    Args:
      path: POSIX path of a file.
      top: see `by_clip`.
      sure: see `by_clip`.
    """
    file = PurePosixPath(path)
    if file.suffix.lower() not in FRAME_ENDINGS:
        return ""
    parsed = picture_name(file)
    clip = parsed.clip
    if clip is None or (sure and not parsed.sure):
        return ""
    if clip == "" and str(file.parent) in (top or ".", "."):
        # Mere numbers are no frames there; `frame_12.png` is one, of a clip that nothing names.
        if file.stem.isdecimal():
            return ""
        clip = "frame"
    return str(file.parent / clip)


def by_numbers(clip: Clip) -> bool:
    """Whether no name of a clip's pictures says more than a number, see `PictureName.sure`.

    Where layout `folder` makes them one clip, they may have nothing to do with each other.
    """
    pictures = clip.frames or (clip.path,)
    return not any(picture_name(PurePosixPath(picture)).sure for picture in pictures)


def celeb_df_persons(name: str, label: int) -> tuple[tuple[str, ...], str]:
    """Persons and target clip that a clip's name in the form of Celeb-DF tells.

    Args:
      name: as in `id0_id16_0001`, a fake, or `id0_0001`, a real clip.
      label: the clip's label; a name that has another one's form tells nothing.

    Returns:
      The persons, target first, and the name of the target clip, which a real clip is itself; ()
      and empty for other names.
    """
    match = _CELEB_DF.fullmatch(name)
    if not match or bool(match["donor"]) != (label == FAKE):
        return (), ""
    persons = dict.fromkeys((match["target"], match["donor"] or match["target"]))
    return tuple(persons), f"{match['target']}_{match['number']}"


def _clip_place(clip: PurePosixPath) -> tuple[str, ...]:
    folders = (part for part in clip.parts[:-1] if part.lower() not in _FOLDERS_OF_FORM)
    return (*folders, clip.name)
