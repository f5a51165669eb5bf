"""FaceForensics++ with DeepFakeDetection: every method and compression that is there.

Originals: `original_sequences/{youtube,actors}/<compression>/videos/`; fakes:
`manipulated_sequences/<method>/<compression>/videos/<target>_<source>.mp4`. The lists in `splits/`
hold pairs of YouTube clips: both originals and both orders of the pair belong to that split. The
actors have no official split. Compressions of one clip form one group. Instead of `videos/`, or
beside it, `frames/<clip>/` may hold a clip's frames as pictures, or `videos/` crops and frames
whose names tell their clip, such as `071_054_10.png`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Set
from pathlib import Path, PurePosixPath

from preprocessing.datasets.clip import (
    FAKE,
    REAL,
    SPLITS,
    Clip,
    Listing,
    Problem,
    frame_folders,
    subfolders,
    unread,
)
from preprocessing.datasets.layout import Layout, register
from preprocessing.datasets.lists import read_list
from preprocessing.datasets.pictures import videos_and_pictures, with_pictures

LOOKS_LIKE = (
    "original_sequences/youtube/c23/videos/ and manipulated_sequences/Deepfakes/c23/videos/ "
    "(or raw, c40, and other methods)"
)
ORIGINALS, FAKES, LISTS = "original_sequences", "manipulated_sequences", "splits"
COMPRESSIONS = ("raw", "c23", "c40")
VIDEOS, FRAMES = "videos", "frames"

_YOUTUBE = re.compile(r"(?P<target>\d{3})(?:_(?P<donor>\d{3}))?")
_ACTORS = re.compile(
    r"(?P<target>\d{2})(?:_(?P<donor>\d{2}))?__(?P<scene>.+?)(?(donor)__[A-Za-z0-9]{8})"
)


def matches(root: Path) -> bool:
    """Whether the folder of the originals or of the fakes is there."""
    return (root / ORIGINALS).is_dir() or (root / FAKES).is_dir()


def owns(root: Path, within: PurePosixPath) -> bool:
    """Whether a path below a dataset's folder belongs to this layout."""
    return within.parts[0] in (ORIGINALS, FAKES, LISTS)


def list_clips(root: Path) -> Listing:
    """Lists the clips of a folder, which may be a partial download."""
    names: list[str] = []
    pictures: dict[str, tuple[str, ...]] = {}
    problems = unread(root, (ORIGINALS, FAKES, LISTS))
    for top in (ORIGINALS, FAKES):
        problems += _unread(root, top, subfolders(root / top))
        for kind in subfolders(root / top):
            problems += _unread(root, f"{top}/{kind}", COMPRESSIONS)
            for compression in COMPRESSIONS:
                folder = f"{top}/{kind}/{compression}"
                if (root / folder).is_dir():
                    problems += _unread(root, folder, (VIDEOS, FRAMES))
                listed: list[str] = []
                if (root / folder / VIDEOS).is_dir():
                    # No other name of the dataset has three numbers.
                    videos, loose, folder_problems = videos_and_pictures(
                        root, f"{folder}/{VIDEOS}", sure=False
                    )
                    listed = [*videos, *loose]
                    pictures |= loose
                    problems += folder_problems
                clips, folder_problems = frame_folders(root, f"{folder}/{FRAMES}", listed)
                names += listed + clips
                problems += folder_problems
    pairs, list_problems = _read_lists(root / LISTS)
    listing = clips_of_names(names, pairs)
    problems = [*problems, *list_problems, *listing.problems]
    return Listing.of("faceforensics", with_pictures(listing.clips, pictures), problems)


def clips_of_names(names: Iterable[str], pairs: Mapping[str, Iterable[tuple[str, str]]]) -> Listing:
    """Makes clips of names alone; no file is needed.

    Args:
      names: POSIX paths such as `original_sequences/youtube/c23/videos/071.mp4`, or
        `original_sequences/youtube/c23/frames/071` for a folder of frames.
      pairs: split -> its pairs of YouTube clips; empty when there are no lists.

    Returns:
      The clips, and what in names and lists does not fit together.
    """
    names = list(names)
    official: dict[str, str] = {}
    problems = []
    for split, members in pairs.items():
        for number in (number for pair in members for number in pair):
            if official.setdefault(number, split) != split:
                problems.append(
                    Problem(
                        f"{LISTS}/{split}.json",
                        f"{number} stands in {official[number]}.json too, which counts",
                    )
                )
    present = frozenset(names)
    clips = []
    for name in names:
        clip, problem = _clip(name, official, present)
        clips.append(clip)
        problems += [problem] if problem else []
    youtube = f"{ORIGINALS}/youtube/"
    originals = {PurePosixPath(name).stem for name in names if name.startswith(youtube)}
    problems += [
        Problem(
            f"{youtube}*/{VIDEOS}/{number}.mp4",
            f"named in {LISTS}/{split}.json, file is missing",
        )
        for number, split in official.items()
        if number not in originals
    ]
    return Listing.of("faceforensics", clips, problems)


def _clip(name: str, official: Mapping[str, str], present: Set[str]) -> tuple[Clip, Problem | None]:
    top, kind, compression, *_ = PurePosixPath(name).parts
    path = PurePosixPath(name)
    label = REAL if top == ORIGINALS else FAKE
    actors = kind in ("actors", "DeepFakeDetection")
    parsed = (_ACTORS if actors else _YOUTUBE).fullmatch(path.stem)
    persons: tuple[str, ...] = ()
    source, split, problem = "", "", None
    if parsed is None or (parsed["donor"] is None) != (label == REAL):
        problem = Problem(name, "name does not tell the persons, who may leak")
    else:
        numbers = tuple(filter(None, (parsed["target"], parsed["donor"])))
        # Actors are numbered 01 to 28, YouTube's clips 000 to 999: two kinds of number.
        persons = tuple(f"{'actor' if actors else 'youtube'}-{number}" for number in numbers)
        if label == FAKE:
            origin = f"{numbers[0]}__{parsed['scene']}" if actors else numbers[0]
            folder = "actors" if actors else "youtube"
            # Its own compression first; an absent original has one name for all of its fakes.
            video = f"{VIDEOS}/{origin}{path.suffix or '.mp4'}"
            candidates = [
                f"{ORIGINALS}/{folder}/{level}/{form}"
                for level in (compression, *COMPRESSIONS)
                for form in (video, f"{FRAMES}/{origin}", f"{VIDEOS}/{origin}")
            ]
            absent = f"{ORIGINALS}/{folder}/{COMPRESSIONS[0]}/{video}"
            source = next((c for c in candidates if c in present), absent)
        if not actors:
            splits = {official.get(number, "") for number in numbers}
            split = splits.pop() if len(splits) == 1 else ""
            if splits:
                problem = Problem(name, "its two clips stand in different splits")
    return (
        Clip(
            path=name,
            label=label,
            dataset="faceforensics",
            method="real" if label == REAL else kind,
            identities=persons,
            source=source,
            group=f"{kind}/{path.stem}",
            official_split=split,
        ),
        problem,
    )


def _read_lists(folder: Path) -> tuple[dict[str, list[tuple[str, str]]], list[Problem]]:
    if not folder.is_dir():
        return {}, [Problem(LISTS, "folder is missing: there is no official split")]
    pairs = {}
    problems = []
    for split in SPLITS:
        name = f"{LISTS}/{split}.json"
        try:
            names = json.loads(read_list(folder / f"{split}.json"))
            pairs[split] = [(str(target), str(donor)) for target, donor in names]
        except FileNotFoundError:
            problems.append(Problem(name, "list is missing"))
        except OSError as error:
            problems.append(Problem(name, f"list cannot be read: {error.strerror}"))
        except (TypeError, ValueError):
            problems.append(Problem(name, 'list is not JSON pairs such as [["071", "054"]]'))
    return pairs, problems


def _unread(root: Path, folder: str, known: Iterable[str]) -> list[Problem]:
    """As `unread`, for a folder within; `masks/` and the like are named once, not by file."""
    if not (root / folder).is_dir():
        return []
    return [Problem(f"{folder}/{p.path}", p.reason) for p in unread(root / folder, known)]


register(Layout("faceforensics", LOOKS_LIKE, matches, owns, list_clips))
