"""The records that every dataset layout yields, and the walk over files that they share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from preprocessing.media.container import (
    FILM,
    IMAGE_ENDINGS,
    PICTURE,
    VIDEO_ENDINGS,
    is_picture,
    sniff,
)
from preprocessing.media.media_errors import UnreadableMedia
from preprocessing.support.files import Scanned, in_bucket, is_folder, scan

REAL, FAKE = 0, 1
LABEL_NAMES = {REAL: "real", FAKE: "fake"}
SPLITS = ("train", "val", "test")
NOT_READ = "not part of the layout, not read"
# Lists by the user, see preprocessing/datasets/layouts/list.py.
LISTS = ("clips.csv", "clips.parquet")
LIST_NOT_READ = (
    "a list of clips, which only the layout list reads (--preset list, data.layout=list)"
)
_DOCUMENTS = frozenset(("LICENSE", "README"))
_DOCUMENT_ENDINGS = frozenset(
    ".csv .html .json .md .parquet .pdf .tsv .txt .xml .yaml .yml".split()
)


@dataclass(frozen=True)
class Clip:
    """One video, one picture, or the pictures of a video's frames or faces.

    Attributes:
      path: POSIX path relative to the dataset's folder; also the clip's id. A file, or a folder of
        pictures; where `frames` names the pictures, nothing has to be there.
      label: 1 = fake, 0 = real.
      dataset: `celeb_df_v2`, `faceforensics`, `dfdc`, `dfdc_preview`, `folder`, `list` or `demo`;
        a list may say another name.
      method: `real` for real clips, else the manipulation.
      identities: the persons seen in it or pasted into it, target first; () when unknown. A name
        holds no `;`.
      source: path of the clip a fake was made from (its target), where the dataset says so. The
        file itself may be absent.
      group: clips of one group never stand in two splits. A layout fills in what must stay
        together (frames of one clip); `splits.assign` widens it to the whole cluster.
      official_split: `train`, `val` or `test` by the dataset's own lists; empty without one.
      split: `train`, `val` or `test`.
      sha256: hash of the content, in hex.
      size: bytes of the file or of all pictures.
      frames: POSIX paths of the pictures, in the order of the frames, relative to the dataset's
        folder; () for a file, and for a folder that holds nothing but the clip's pictures.
    """

    path: str
    label: int
    dataset: str
    method: str
    identities: tuple[str, ...] = ()
    source: str = ""
    group: str = ""
    official_split: str = ""
    split: str = ""
    sha256: str = ""
    size: int = 0
    frames: tuple[str, ...] = ()

    @property
    def kin(self) -> str:
        """What its records name in place of persons where none is known: its group.

        Returns:
          The name, with a slash for each bar, which stands between persons there. Empty where
          persons are known, and where the name is that of the clip itself or of its source.
        """
        name = self.group.replace("|", "/")
        return "" if self.identities or name == (self.source or self.path) else name


@dataclass(frozen=True)
class Problem:
    """A file or row that is not as the layout says, and why it matters.

    Attributes:
      path: POSIX path relative to the dataset's folder.
      reason: a phrase, the same for all files with the same problem, so that they can be counted.
      place: where a list names the file, as in `row 12`; empty without one.
    """

    path: str
    reason: str
    place: str = ""

    @property
    def named(self) -> str:
        """Path and place for messages, see `printable`."""
        return printable(self.path) + (f" ({self.place})" if self.place else "")


@dataclass(frozen=True)
class Listing:
    """All clips of a dataset's folder.

    Attributes:
      layout: name of the layout they were read as.
      clips: sorted by path.
      problems: sorted by path.
      given: name of the default division into train, val and test, as in
        `column split of clips.csv`; empty where the dataset's own division, if it has one, is a
        protocol to be asked for.
      divided_persons: persons whom that division has in two splits, in the same form as problems.
    """

    layout: str
    clips: tuple[Clip, ...]
    problems: tuple[Problem, ...]
    given: str = ""
    divided_persons: tuple[Problem, ...] = ()

    @classmethod
    def of(
        cls,
        layout: str,
        clips: Iterable[Clip],
        problems: Iterable[Problem],
        given: str = "",
        divided_persons: Iterable[Problem] = (),
    ) -> Listing:
        """A listing in the order that does not depend on the file system's."""
        return cls(
            layout,
            tuple(sorted(clips, key=lambda clip: (clip.path, clip.label))),
            tuple(sorted(problems, key=lambda problem: (problem.path, problem.reason))),
            given,
            tuple(divided_persons),
        )


def media(
    root: Path, folder: str, endings: frozenset[str] = VIDEO_ENDINGS
) -> tuple[list[str], list[Problem]]:
    """All media files below a folder of a dataset.

    Hidden files are ignored; links to folders are followed.

    Args:
      root: the dataset's folder.
      folder: POSIX path below it; empty for the root itself.
      endings: `VIDEO_ENDINGS`, `IMAGE_ENDINGS` or both: whether videos or pictures are wanted.
        Files with one of these endings count without a look into them; a file whose ending is not
        known is looked into.

    Returns:
      POSIX paths relative to `root`, sorted, and what else was met: files that hold something else,
      folders that cannot be read, folders and links that only look like media.
    """
    paths: list[str] = []
    problems: list[Problem] = []
    kind = "a video or picture" if endings & IMAGE_ENDINGS else "a video"
    for path, reason in _walk(root, folder, frozenset()):
        if not reason and Path(path).suffix.lower() not in endings:
            reason = _mismatch(root / path, endings, kind)
        if not reason and not is_utf8(path):
            reason = "name is not UTF-8, which no record can hold; rename it"
        if reason:
            problems.append(Problem(path, reason))
        else:
            paths.append(path)
    return sorted(paths), problems


def is_video(root: Path, path: str) -> bool:
    """Whether a file that `media` gave is a video; else it is a picture.

    By the ending where it is known, so that millions of pictures need not be opened.

    Args:
      root: the dataset's folder.
      path: POSIX path of the file below it.
    """
    ending = PurePosixPath(path).suffix.lower()
    if ending in VIDEO_ENDINGS | IMAGE_ENDINGS:
        return ending in VIDEO_ENDINGS
    return not is_picture(root / path)


def unread(root: Path, known: Iterable[str]) -> list[Problem]:
    """One problem for each visible entry of `root` that the layout does not know."""
    known = set(known)
    return [
        Problem(name, LIST_NOT_READ if name in LISTS else NOT_READ)
        for name in sorted(entry.name for entry in root.iterdir())
        if not name.startswith(".") and name not in known
    ]


def is_document(path: Path) -> bool:
    """Whether a file is a text or table beside a dataset, such as its README, licence or list."""
    if path.suffix.lower() not in _DOCUMENT_ENDINGS and path.name.upper() not in _DOCUMENTS:
        return False
    try:
        return path.is_file()
    except OSError:
        if in_bucket(path):
            raise
        return False  # A link into a folder that is closed.


def printable(path: str) -> str:
    """A path for messages, which any UTF-8 stream takes.

    Newlines and the like in a name would garble the message, and bytes that are not UTF-8, which
    Python holds as surrogates, cannot be encoded: such names are quoted with escapes.
    """
    return path if path.isprintable() else ascii(path) if not is_utf8(path) else repr(path)


def frame_folders(
    root: Path, folder: str, videos: Iterable[str]
) -> tuple[list[str], list[Problem]]:
    """The folders of pictures below a folder `frames`, each of which is one clip.

    Args:
      root: the dataset's folder.
      folder: POSIX path of the folder `frames`; it may be absent.
      videos: paths of the videos that are listed already. The frames of a video that is there are
        not a clip besides it.

    Returns:
      POSIX paths of the clips' folders, sorted, and what else was met.
    """
    if not (root / folder).is_dir():
        return [], []
    pictures, problems = media(root, folder, IMAGE_ENDINGS)
    parents = {str(PurePosixPath(picture).parent) for picture in pictures}
    if folder in parents:
        reason = "a picture outside of a folder that is named after its clip"
        problems += [Problem(p, reason) for p in pictures if str(PurePosixPath(p).parent) == folder]
        parents.remove(folder)
    video_names = {PurePosixPath(video).stem for video in videos}
    repeated = {parent for parent in parents if PurePosixPath(parent).name in video_names}
    if repeated:
        problems.append(Problem(folder, "frames of clips that are there as videos, not read"))
    return sorted(parents - repeated), problems


def subfolders(folder: Path) -> list[str]:
    """Names of the visible folders in `folder`, sorted; none when it is absent or unreadable."""
    try:
        entries = scan(folder)
    except OSError:
        return []
    return sorted(
        entry.name for entry in entries if is_folder(entry) and not entry.name.startswith(".")
    )


def is_utf8(path: str) -> bool:
    """Whether a name that a file function gave can be encoded."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _mismatch(path: Path, endings: frozenset[str], kind: str) -> str:
    """The reason why a file of another ending than `endings` is left out; empty for none."""
    if path.suffix.lower() in VIDEO_ENDINGS | IMAGE_ENDINGS:
        return f"not {kind} by its ending"
    try:
        reader = sniff(path).reader
    except UnreadableMedia:
        return f"not {kind} by its ending, nor by its content"
    except OSError as error:
        return f"the file cannot be opened: {error.strerror}"
    allowed = {FILM: endings & VIDEO_ENDINGS, PICTURE: endings & IMAGE_ENDINGS}
    return "" if allowed[reader] else f"not {kind} by its content"


def _identity(folder: Path) -> tuple[int, int] | str:
    """What a folder has in common with links to it."""
    if in_bucket(folder):
        return str(folder)
    stat = folder.stat()
    return stat.st_dev, stat.st_ino


def _walk(
    root: Path, folder: str, above: frozenset[tuple[int, int] | str]
) -> Iterator[tuple[str, str]]:
    """Yields (path, reason against it) of all visible files; `above` breaks circles of links."""
    try:
        folder_id = _identity(root / folder)
        if folder_id in above:
            yield folder, "link to a folder that holds it, not followed"
            return
        entries = sorted(scan(root / folder), key=lambda entry: entry.name)
    except OSError as error:
        yield folder, f"folder cannot be read: {error.strerror}"
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = f"{folder}/{entry.name}" if folder else entry.name
        if not is_folder(entry):
            yield path, _fault_of_file(entry)
        elif Path(entry.name).suffix.lower() in VIDEO_ENDINGS | IMAGE_ENDINGS:
            yield path, "a folder with the name of a media file"
        else:
            yield from _walk(root, path, above | {folder_id})


def _fault_of_file(entry: Scanned) -> str:
    """The reason against an entry that is no folder; empty for a file."""
    try:
        if entry.is_file():
            return ""
    except OSError as error:  # Of a link in a circle, or into a folder that is closed.
        return f"cannot be looked at: {error.strerror}"
    return "link to a file that is not there" if entry.is_symlink() else "not a regular file"
