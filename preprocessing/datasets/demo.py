"""A synthetic dataset in Celeb-DF v2's layout: small, offline, the same on every call.

    make_demo_data(Path("demo-data"), DemoConfig())

Every pseudo-person is a seeded variation of one portrait (shape of the face, colours of skin,
hair and clothes, light, background), shown in one clip with a moving camera. Every fake is its
own real clip, self-blended as in "Detecting Deepfakes with Self-Blended Images" (Shiohara and
Yamasaki, CVPR 2022): a changed copy of the face is moved a little and blended over the face.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from preprocessing.datasets import demo_pictures as pictures
from preprocessing.datasets.demo_config import MARKER, DemoConfig
from preprocessing.support.errors import UsageError

NOTICE = (
    "Made data: every face here is a variation of one picture, NASA's public-domain portrait of "
    "the astronaut Eileen Collins, which scikit-image ships. It checks that the machinery works; "
    "a result on it says nothing about real deepfakes."
)
# Raise it whenever the clips change: data made by another version is made anew.
VERSION = 2
BLENDS = {"easy": pictures.blend_easily, "hard": pictures.blend_hard}
TEST_LIST = "List_of_testing_videos.txt"

FPS = 25
# Real clips without a fake, as YouTube-real has them; the first of them belong to the test list.
YOUTUBE_CLIPS, YOUTUBE_TEST_CLIPS = 6, 2
FRAME_SIZES = ((320, 320), (336, 304), (304, 320), (288, 360), (352, 288))  # width, height


class _Person(NamedTuple):
    """One pseudo-person: its real clip, its fake if it has one, and whether it is for testing."""

    stream: tuple[int, int]
    real: str
    fake: str | None
    test: bool


def make_demo_data(
    root: Path,
    demo: DemoConfig,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Makes the dataset, unless it is there already.

    The folder appears complete or not at all. A dataset that was made with other parameters, by
    another version, or that lacks a clip is replaced.

    Args:
      root: folder of the dataset. Must not exist, be empty, or hold an earlier synthetic dataset.
      demo: how many pseudo-persons of each split, and the seed. Persons with the highest numbers
        are the test persons; training and validation persons are not told apart here.
      progress: called in this thread after each person with (persons made, persons in all).

    Raises:
      UsageError: `root` holds files of somebody else, or it cannot be written.
    """
    root = Path(root).resolve()
    parameters = demo.to_dict()
    if _is_complete(root, parameters):
        return
    _refuse_foreign_files(root)
    people = _people(parameters)
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        # A sibling, so that the finished folder is moved into place by one rename.
        with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as work:
            new = Path(work) / "new"
            _make_clips(new, people, parameters, progress)
            _write_texts(new, people, parameters)
            if _is_complete(root, parameters):  # Another process was faster.
                return
            if root.exists():
                root.rename(Path(work) / "old")
            new.rename(root)
    except OSError as error:
        raise UsageError(
            f"the demo data cannot be written to {root} ({error}); name a folder "
            "(data.dir) in a place that can be written and has some 20 MB left"
        ) from error


def _people(parameters: dict[str, Any]) -> list[_Person]:
    training = parameters["train_identities"] + parameters["val_identities"]
    people = []
    for number in range(training + parameters["test_identities"]):
        real = f"Celeb-real/id{number}_0000.mp4"
        fake = f"Celeb-synthesis/id{number}_id{number}_0000.mp4"
        people.append(_Person((0, number), real, fake, number >= training))
    for number in range(YOUTUBE_CLIPS):
        real = f"YouTube-real/{number:05d}.mp4"
        people.append(_Person((1, number), real, None, number < YOUTUBE_TEST_CLIPS))
    return people


def _read_marker(root: Path) -> dict[str, Any]:
    """What an earlier call recorded; without a valid record a version that never was, no files."""
    try:
        marker = json.loads((root / MARKER).read_text(encoding="utf-8"))
        return {key: marker[key] for key in ("version", "parameters", "files")}
    except (OSError, ValueError, LookupError, TypeError):
        return {"version": 0, "parameters": {}, "files": []}


def _is_complete(root: Path, parameters: dict[str, int]) -> bool:
    marker = _read_marker(root)
    return (
        marker["version"] == VERSION
        and marker["parameters"] == parameters
        and all((root / name).is_file() for name in marker["files"])
    )


def _refuse_foreign_files(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is a file; name a folder for the demo data (data.dir)")
    made_files = _read_marker(root)["files"]
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if not path.is_dir() and name not in made_files:
            raise UsageError(
                f"{root} holds {name}, which is not part of the demo data; name a new or empty "
                "folder (data.dir), or move the files away"
            )


def _make_clips(
    folder: Path,
    people: list[_Person],
    parameters: dict[str, Any],
    progress: Callable[[int, int], None] | None,
) -> None:
    for name in ("Celeb-real", "Celeb-synthesis", "YouTube-real"):
        (folder / name).mkdir(parents=True)
    settings = parameters["seed"], parameters["difficulty"], pictures.portrait()
    # Threads, since OpenCV works outside the interpreter lock, and processes would import the
    # caller's main module (and TensorFlow with it) again.
    pool = ThreadPoolExecutor(max_workers=2)
    try:
        jobs = [pool.submit(_make_person, folder, person, *settings) for person in people]
        for done, job in enumerate(as_completed(jobs), start=1):
            job.result()
            if progress is not None:
                progress(done, len(people))
    finally:
        pool.shutdown(cancel_futures=True)


def _write_texts(folder: Path, people: list[_Person], parameters: dict[str, Any]) -> None:
    clips = [(person, 1, person.real) for person in people]
    clips += [(person, 0, person.fake) for person in people if person.fake]
    # As in Celeb-DF v2: no header, and 1 is REAL.
    lines = [f"{label} {name}\n" for person, label, name in clips if person.test]
    (folder / TEST_LIST).write_text("".join(lines), encoding="utf-8")
    (folder / "README.txt").write_text(NOTICE + "\n", encoding="utf-8")
    marker = {
        "version": VERSION,
        "parameters": parameters,
        "notice": NOTICE,
        "files": [name for _, _, name in clips] + [TEST_LIST, "README.txt", MARKER],
    }
    (folder / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")


def _make_person(
    folder: Path,
    person: _Person,
    seed: int,
    difficulty: str,
    portrait: tuple[np.ndarray, ...],
) -> None:
    # A stream of its own for each person: neither order nor number of the others changes it.
    rng = np.random.default_rng([seed, *person.stream])
    still, axes = pictures.make_still(rng, portrait)
    stills = {person.real: still}
    if person.fake is not None:
        stills[person.fake] = BLENDS[difficulty](rng, still, axes)
    size = FRAME_SIZES[rng.integers(len(FRAME_SIZES))]
    path = list(pictures.camera_path(rng, size, frames=int(rng.integers(12, 16))))
    for name, picture in stills.items():
        frames = [
            cv2.convertScaleAbs(pictures.move(picture, move, size), alpha=g) for move, g in path
        ]
        if difficulty == "hard":
            frames = list(map(pictures.degrade(rng), frames))
        _write_clip(folder / name, frames)


def _write_clip(path: Path, frames: list[np.ndarray]) -> None:
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), FPS, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    # OpenCV reports neither a full disk nor a missing encoder.
    if cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) != len(frames):
        raise OSError(f"OpenCV could not write {path.name} (disk full, or no mp4v encoder)")
