"""A made dataset in Celeb-DF v2's layout: small, offline, the same on every call.

    make_demo_data(Path("demo-data"), DemoConfig())

Every pseudo-person is a seeded variation of one portrait (shape of the face, colours of skin,
hair and clothes, light, background), shown in one clip with a moving camera. Every fake is its
own real clip, self-blended as in "Detecting Deepfakes with Self-Blended Images" (Shiohara and
Yamasaki, CVPR 2022): a changed copy of the face is moved a little and blended over the face.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np

from preprocessing.errors import UsageError

NOTICE = (
    "Made data: every face here is a variation of one picture, NASA's public-domain portrait of "
    "the astronaut Eileen Collins, which scikit-image ships. It checks that the machinery works; "
    "a result on it says nothing about real deepfakes."
)
# Raise it whenever the clips change: data made by another version is made anew.
VERSION = 1
MARKER = "demo.json"
TEST_LIST = "List_of_testing_videos.txt"

FPS = 25
# Real clips without a fake, as YouTube-real has them; the first of them belong to the test list.
YOUTUBE_CLIPS, YOUTUBE_TEST_CLIPS = 6, 2
FRAME_SIZES = ((320, 320), (336, 304), (304, 320), (288, 360), (352, 288))  # width, height
# Side of the square picture the camera moves over: the longest frame side, shifted, turned.
STILL = 448
# In pixels of the portrait: the face's centre and its half axes, hairline to chin.
FACE_CENTER = np.float32((221, 128))
FACE_AXES = np.float32((43, 54))
# Rough outlines of person and head, in pixels of the portrait; GrabCut refines the person's.
HEAD_OUTLINE = (
    "185,149 182,138 176,132 170,122 160,112 155,100 154,70 158,55 175,45 190,30 205,20 230,15 "
    "250,20 270,32 288,42 297,60 302,85 297,108 285,122 275,132 268,137 262,137 258,155 256,173"
)
NECK_OUTLINE = "185,149 258,149 256,173 252,190 237,193 215,191 195,186 186,180"
BODY_OUTLINE = (
    "272,182 290,200 302,220 304,240 325,250 338,265 350,285 360,310 365,340 365,512 20,512 "
    "20,290 60,250 95,228 112,212 112,190 118,185 125,170 140,158 160,151"
)


class DemoParameters(Protocol):
    """How many pseudo-persons each split gets, and the seed; pipeline.config.DemoConfig fits."""

    train_identities: int
    val_identities: int
    test_identities: int
    seed: int


class _Person(NamedTuple):
    """One pseudo-person: its real clip, its fake if it has one, and whether it is for testing."""

    stream: tuple[int, int]
    real: str
    fake: str | None
    test: bool


def make_demo_data(
    root: Path,
    demo: DemoParameters,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Makes the dataset, unless it is there already.

    The folder appears complete or not at all. A dataset that was made with other parameters, by
    another version, or that lacks a clip is replaced.

    Args:
      root: folder of the dataset. Must not exist, be empty, or hold an earlier made dataset.
      demo: how many pseudo-persons of each split, and the seed. Persons with the highest numbers
        are the test persons; training and validation persons are not told apart here.
      progress: called in this thread after each person with (persons made, persons in all).

    Raises:
      UsageError: a count is too small, `root` holds files of somebody else, or it cannot be
        written.
    """
    root = Path(root).resolve()
    parameters = _parameters(demo)
    if _is_complete(root, parameters):
        return
    _refuse_foreign_files(root)
    people = _people(parameters)
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        # A sibling, so that the finished folder is moved into place by one rename.
        with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as work:
            new = Path(work) / "new"
            _make_clips(new, people, parameters["seed"], progress)
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


def _parameters(demo: DemoParameters) -> dict[str, int]:
    parameters = {
        name: int(getattr(demo, name))
        for name in ("train_identities", "val_identities", "test_identities", "seed")
    }
    for name, value in parameters.items():
        lowest = 0 if name == "seed" else 1
        if value < lowest:
            raise UsageError(f"demo.{name}: {value} is too small; it must be {lowest} or more")
    return parameters


def _people(parameters: dict[str, int]) -> list[_Person]:
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
    ours = _read_marker(root)["files"]
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if not path.is_dir() and name not in ours:
            raise UsageError(
                f"{root} holds {name}, which is not part of the demo data; name a new or empty "
                "folder (data.dir), or move the files away"
            )


def _make_clips(
    folder: Path,
    people: list[_Person],
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    for name in ("Celeb-real", "Celeb-synthesis", "YouTube-real"):
        (folder / name).mkdir(parents=True)
    portrait = _portrait()
    # Threads, since OpenCV works outside the interpreter lock, and processes would import the
    # caller's main module (and TensorFlow with it) again.
    pool = ThreadPoolExecutor(max_workers=2)
    try:
        jobs = [pool.submit(_make_person, folder, person, seed, portrait) for person in people]
        for done, job in enumerate(as_completed(jobs), start=1):
            job.result()
            if progress is not None:
                progress(done, len(people))
    finally:
        pool.shutdown(cancel_futures=True)


def _write_texts(folder: Path, people: list[_Person], parameters: dict[str, int]) -> None:
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


def _portrait() -> tuple[np.ndarray, ...]:
    """The picture all faces come from, BGR, and soft masks of person, head and face, all uint8."""
    from skimage import data  # Half a second, and not needed when the data is there.

    image = np.ascontiguousarray(data.astronaut()[:, :, ::-1])
    person, head, face = (np.zeros(image.shape[:2], np.uint8) for _ in range(3))
    cv2.fillPoly(person, [_points(f"{HEAD_OUTLINE} {BODY_OUTLINE}")], 255)
    cv2.fillPoly(head, [_points(HEAD_OUTLINE)], 255)
    cv2.fillPoly(head, [_points(NECK_OUTLINE)], 255)
    cv2.ellipse(face, (FACE_CENTER.tolist(), (2 * FACE_AXES).tolist(), 0), 255, -1)

    border = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    guess = np.where(cv2.dilate(person, border) > 0, cv2.GC_PR_BGD, cv2.GC_BGD).astype(np.uint8)
    guess[person > 0] = cv2.GC_PR_FGD
    guess[cv2.erode(person, border) > 0] = cv2.GC_FGD
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(image, guess, None, *models, 3, cv2.GC_INIT_WITH_MASK)
    person = np.where(np.isin(guess, (cv2.GC_FGD, cv2.GC_PR_FGD)), 255, 0).astype(np.uint8)
    soft = ((person, 1), (cv2.dilate(head, border), 2), (face, 5))
    return image, *(cv2.GaussianBlur(mask, (0, 0), sigma) for mask, sigma in soft)


def _points(text: str) -> np.ndarray:
    return np.array([point.split(",") for point in text.split()], dtype=np.int32)


def _make_person(
    folder: Path, person: _Person, seed: int, portrait: tuple[np.ndarray, ...]
) -> None:
    # A stream of its own for each person: neither order nor number of the others changes it.
    rng = np.random.default_rng([seed, *person.stream])
    still, axes = _still(rng, portrait)
    stills = {person.real: still}
    if person.fake is not None:
        stills[person.fake] = _self_blend(rng, still, axes)
    size = FRAME_SIZES[rng.integers(len(FRAME_SIZES))]
    path = list(_camera_path(rng, size, frames=int(rng.integers(12, 16))))
    for name, picture in stills.items():
        frames = [cv2.convertScaleAbs(_move(picture, move, size), alpha=g) for move, g in path]
        _write_clip(folder / name, frames)


def _still(
    rng: np.random.Generator, portrait: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """A pseudo-person before a background, and the half axes of the face in the centre."""
    scale = rng.uniform(1.1, 1.4) * np.exp(rng.uniform(-0.06, 0.06, 2) * (1, -1))
    to_portrait = _turn(rng.uniform(-7, 7)) / scale * (rng.choice((-1, 1)), 1)
    grid = np.float32(np.mgrid[:STILL, :STILL][::-1]) - STILL / 2
    where = np.einsum("ij,jyx->iyx", to_portrait, grid) + FACE_CENTER[:, None, None]
    # Features move by up to about 6 px of the portrait, over distances of about 50 px.
    where += 2.4 * np.stack([_noise(rng, 60), _noise(rng, 60)])
    where = np.float32(where)

    image, person, head, face = (
        np.float32(cv2.remap(part, *where, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))
        for part in portrait
    )
    person, head, face = (mask[..., None] / 255 for mask in (person, head, face))
    clothes = cv2.cvtColor(np.uint8(image), cv2.COLOR_BGR2HSV)
    clothes[..., 0] = (clothes[..., 0].astype(int) + rng.integers(180)) % 180
    clothes[..., 1] = cv2.convertScaleAbs(clothes[..., 1], alpha=rng.uniform(0.2, 0.9))
    clothes = np.float32(cv2.cvtColor(clothes, cv2.COLOR_HSV2BGR)) * rng.uniform(0.6, 1.0)
    hair = image * _warmth(rng, 0.2) * rng.uniform(0.5, 1.05)
    # Bounded: a detector misses faces that are too dark.
    skin = 255 * (image / 255) ** rng.uniform(0.85, 1.3) * _warmth(rng, 0.1)
    image = face * skin + (1 - face) * (head * hair + (1 - head) * clothes)

    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.8))
    image += rng.normal(0, rng.uniform(2, 5), image.shape[:2]).astype(np.float32)[..., None]
    image = person * image + (1 - person) * _background(rng)
    slope = rng.uniform(-0.12, 0.12, 2) / (STILL / 2)
    image *= (1 + slope[0] * grid[0] + slope[1] * grid[1])[..., None] * _warmth(rng, 0.06)
    return np.uint8(np.clip(image, 0, 255)), FACE_AXES * scale


def _background(rng: np.random.Generator) -> np.ndarray:
    """A wall, soft blobs and a few shapes, out of focus."""
    wall, other = rng.uniform(50, 210, (2, 1)) + rng.uniform(-25, 25, (2, 3))
    blend = np.clip(0.5 + 0.3 * _noise(rng, rng.uniform(60, 250)), 0, 1)[..., None]
    picture = np.float32(blend * wall + (1 - blend) * (0.6 * wall + 0.4 * other))
    for _ in range(rng.integers(7)):
        left, top = (int(value) for value in rng.integers(-80, STILL, 2))
        width, height = (int(value) for value in rng.integers(20, 160, 2))
        color = (0.6 * wall + 0.4 * rng.uniform(20, 235, 3)).tolist()
        cv2.rectangle(picture, (left, top, width, height), color, -1)
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(1, 6))
    return picture + rng.uniform(0.5, 2) * _noise(rng, 2)[..., None]


def _self_blend(rng: np.random.Generator, still: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """The person with a changed, moved copy of the own face blended over it.

    The procedure is the paper's, except that it always changes the copy, never the picture under
    it, so that a real clip and its fake are equal outside the face.
    """
    target = np.float32(still)
    hsv = np.float32(cv2.cvtColor(still, cv2.COLOR_BGR2HSV))
    hsv *= np.float32((1, rng.uniform(0.85, 1.15), rng.uniform(0.93, 1.07)))
    source = np.float32(cv2.cvtColor(np.uint8(np.clip(hsv, 0, 255)), cv2.COLOR_HSV2BGR))
    source += np.float32(rng.uniform(-8, 8, 3))
    if rng.random() < 0.8:
        side = int(STILL / rng.uniform(1.6, 2.6))
        small = cv2.resize(source, (side, side), interpolation=cv2.INTER_AREA)
        source = cv2.resize(small, (STILL, STILL), interpolation=cv2.INTER_CUBIC)
    else:
        source += rng.uniform(0.6, 1.0) * (source - cv2.GaussianBlur(source, (0, 0), 1.5))

    # Elastic deformation of the face's outline: an ellipse whose radius wobbles.
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    radius = rng.uniform(0.88, 1.0) + sum(
        rng.normal(0, 0.03) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4)
    )
    outline = STILL / 2 + (radius * (np.cos(angle), np.sin(angle))).T * axes
    mask = np.zeros(still.shape[:2], np.float32)
    cv2.fillPoly(mask, [np.int32(outline)], 1.0)

    shift = 2 * axes * rng.uniform(-1, 1, 2) * (0.03, 0.015)
    move = _similarity(rng.uniform(0.95, 1 / 0.95), 0, shift)
    source, mask = (_move(picture, move, (STILL, STILL)) for picture in (source, mask))
    mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(2, 7)) * rng.choice((0.75, 1, 1, 1))
    mask = mask[..., None]
    return np.uint8(np.clip(mask * source + (1 - mask) * target, 0, 255))


def _camera_path(
    rng: np.random.Generator, size: tuple[int, int], frames: int
) -> Iterator[tuple[np.ndarray, float]]:
    """For each frame the 2x3 matrix from still to frame, and the gain of the light."""
    # x and y in pixels, degrees, zoom.
    ranges = ((12, 10, 3, 0.03), (10, 6, 3, 0.04), (3, 3, 1, 0.01))
    start, drift, sway = rng.uniform(-1, 1, (3, 4)) * ranges
    phase, light = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.07)
    to_frame = (np.array(size) - STILL) / 2
    for time in np.linspace(-0.5, 0.5, frames):
        wave = np.sin(4 * time + phase)
        x, y, degrees, zoom = start + drift * time + sway * wave
        yield _similarity(1 + zoom, degrees, to_frame + (x, y)), 1 + light * wave


def _write_clip(path: Path, frames: list[np.ndarray]) -> None:
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), FPS, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    # OpenCV reports neither a full disk nor a missing encoder.
    if cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) != len(frames):
        raise OSError(f"OpenCV could not write {path.name} (disk full, or no mp4v encoder)")


def _noise(rng: np.random.Generator, cell: float) -> np.ndarray:
    """Smooth noise of the still's size, unit variance at its nodes, `cell` pixels between them."""
    nodes = max(2, round(STILL / cell))
    grid = rng.standard_normal((nodes, nodes)).astype(np.float32)
    return cv2.resize(grid, (STILL, STILL), interpolation=cv2.INTER_CUBIC)


def _warmth(rng: np.random.Generator, amount: float) -> np.ndarray:
    """Gains of blue, green and red that make a colour colder or warmer, never greenish."""
    warmth = rng.uniform(-amount, amount)
    return np.float32((1 - warmth, 1 + rng.uniform(-amount, amount) / 5, 1 + warmth / 2))


def _turn(degrees: float) -> np.ndarray:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array(((cosine, -sine), (sine, cosine)))


def _similarity(scale: float, degrees: float, shift: np.ndarray) -> np.ndarray:
    """The 2x3 matrix that scales and turns about the still's centre, then shifts by pixels."""
    matrix = scale * _turn(degrees)
    center = np.full(2, STILL / 2)
    return np.column_stack((matrix, center - matrix @ center + shift))


def _move(picture: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.warpAffine(
        picture, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
