"""Draws what training will see, as one picture.

Each row is a crop, each column a draw of the augmentation; the first column shows the crop as it
is. Crops, pairs, pseudo-fakes and draws come from the very functions that feed the training.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from components.trainer.augmentation import STRENGTHS
from components.trainer.config import ModelConfig, TrainingConfig, image_size_of
from components.trainer.crop_store import CropStore
from components.trainer.input import training_dataset
from components.trainer.sampling import (
    Sampler,
    ShuffledSampler,
    build_sampler,
    missing_for_training,
)
from components.transform.preprocessing import decode_images
from preprocessing.datasets.data_config import DataConfig
from preprocessing.extraction import face_example as names
from preprocessing.faces.crop_settings import CropSettings, ExtractionConfig
from preprocessing.support.errors import UsageError

PICTURES = (".jpg", ".jpeg", ".png")
# Names of a folder's real and fake pictures, as in the layout of plain folders.
_CLASSES = {"real": names.REAL, "fake": names.FAKE}
_MAX_PICTURES = 1000
_CELL = 192
_LINE = 22
_GREEN, _RED, _BLACK = (40, 130, 60), (180, 40, 40), (0, 0, 0)


class PreviewConfig(Protocol):
    """What a preview reads of a run's configuration."""

    @property
    def model(self) -> ModelConfig:
        """The network, whose size of the input is shown."""

    @property
    def training(self) -> TrainingConfig:
        """How crops are drawn and augmented."""

    @property
    def data(self) -> DataConfig:
        """Whether the files were crops already."""

    @property
    def extraction(self) -> ExtractionConfig:
        """How the crops were cut."""

    @property
    def seed(self) -> int:
        """Of the draws."""


def write_preview(
    config: PreviewConfig,
    data: str,
    output: str,
    strengths: Sequence[str],
    rows: int = 4,
    draws: int = 6,
) -> str:
    """Writes the contact sheet.

    Args:
      config: of a run; its sections `data`, `model`, `training` and `extraction`, and the seed, are
        read.
      data: folder of face crops: pictures (JPEG, PNG; in folders `real` and `fake`, or all taken
        for real), what `deepfake extract` wrote, or the output of a run.
      output: the PNG file to write.
      strengths: names of STRENGTHS, each of which gets rows of its own; none: the configured one.
      rows: crops shown.
      draws: columns beside that of the crops as they are.

    Returns:
      One sentence that says what is shown.

    Raises:
      UsageError: no crops there, an unknown strength, a number below 1, or an output that cannot
        be written.
    """
    strengths = list(strengths) or [config.training.augmentation]
    for strength in strengths:
        if strength not in STRENGTHS:
            raise UsageError(
                f"there is no augmentation {strength!r}; strengths are {', '.join(STRENGTHS)}"
            )
    for name, value in (("--rows", rows), ("--draws", draws)):
        if value < 1:
            raise UsageError(f"{name}: {value} is too small; it must be 1 or more")
    if Path(output).suffix.lower() != ".png":
        raise UsageError(f"--output: {output} must end in .png")
    settings = config.extraction.crop_settings(config.data.precropped)
    with open_crops(data, settings) as store:
        sampler = _sampler(store, config)
        numbers = _first(sampler, rows)
        fixed_sampler = _Fixed(numbers, sampler)
        parts = [_part(store, fixed_sampler, config, strength, draws) for strength in strengths]
    sheet = cv2.cvtColor(np.vstack(parts), cv2.COLOR_RGB2BGR)
    try:
        Path(output).write_bytes(cv2.imencode(".png", sheet)[1].tobytes())
    except OSError as error:
        raise UsageError(f"{output} cannot be written ({error.strerror})") from error
    return f"wrote {output}: {len(numbers)} crops under {', '.join(strengths)}"


@contextlib.contextmanager
def open_crops(data: str, extraction: CropSettings) -> Iterator[CropStore]:
    """The crops of a folder of pictures, of `deepfake extract`, or of a run.

    Raises:
      UsageError: the folder cannot be read, or holds none.
    """
    root = Path(data)
    try:
        os.scandir(root).close()
    except OSError as error:
        raise UsageError(
            f"{data} is not a folder that can be read ({error.strerror}); name one with face "
            "crops, or of a run (--data)"
        ) from error
    records = _find_records(root)
    if records is not None:
        with CropStore([f"{records}/*.gz"], "train", extraction) as store:
            yield store
        return
    pictures = _find_pictures(root)
    if not pictures:
        raise UsageError(
            f"{data} holds neither pictures ({', '.join(PICTURES)}) nor the face crops of "
            "`deepfake extract` or of a run"
        )
    with CropStore.of(_of_pictures(root, pictures), extraction) as store:
        if not len(store.table):
            raise UsageError(
                f"none of the {len(pictures)} pictures in {data} can be read and decoded"
            )
        yield store


def _find_records(root: Path) -> Path | None:
    """The folder with the train split's TFRecords; of several runs' the newest."""
    for folder in (root, root / "train", root / "faces" / "train", root / "Split-train"):
        if _has_records(folder):
            return folder
    below = (Path(folder) for folder, _, _ in os.walk(root))
    folders = [path for path in below if path.name == "Split-train" and _has_records(path)]
    return max(folders, key=lambda path: path.stat().st_mtime, default=None)


def _has_records(folder: Path) -> bool:
    try:
        return any(folder.glob("faces-*.gz"))
    except PermissionError:
        return False


def _find_pictures(root: Path) -> list[Path]:
    """The pictures below a folder, sorted, without those that this user cannot reach."""
    paths = (Path(folder, name) for folder, _, files in os.walk(root) for name in files)
    pictures = (path for path in paths if path.suffix.lower() in PICTURES)
    # Path.is_file raises where a link leads into a closed folder.
    return sorted(filter(os.path.isfile, pictures))


def _of_pictures(root: Path, pictures: list[Path]) -> Iterator[dict[str, Any]]:
    # A sheet shows a few: an even choice of a large folder will do.
    for path in pictures[:: 1 + len(pictures) // _MAX_PICTURES]:
        try:
            encoded = path.read_bytes()
        except OSError:
            continue
        if not encoded or cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR) is None:
            continue
        relative = path.relative_to(root)
        classes = [_CLASSES[part] for part in (root.name, *relative.parts[:-1]) if part in _CLASSES]
        clip = np.array([str(relative).encode("utf-8", "surrogateescape")], object)
        yield {
            names.IMAGE: [encoded],
            names.LABEL: np.array(classes[-1:] or [names.REAL]),
            names.CLIP_ID: clip,
            names.PAIR_ID: clip,
            names.TRACK_ID: np.zeros(1, np.int64),
            names.FRAME_INDEX: np.zeros(1, np.int64),
            names.BOX: np.zeros((1, 4), np.float32),
            names.LANDMARKS: np.zeros((1, 10), np.float32),
            names.DATASET: np.array([b""], object),
            names.IDENTITY: np.array([b""], object),
        }


def _sampler(store: CropStore, config: PreviewConfig) -> Sampler:
    # The order does not depend on the size of the batches, and a few crops are enough to look at.
    training = config.training.replace(batch_size=2)
    if missing_for_training(store.table, training):
        # Nothing to train on, but something to look at.
        return ShuffledSampler(store.table, training.batch_size, config.seed)
    return build_sampler(store.table, training, config.seed)


def _first(sampler: Sampler, rows: int) -> np.ndarray:
    """The first crops of training, each once, pairs whole."""
    step = 2 if sampler.paired else 1
    rows += rows % step
    batches = itertools.islice(sampler.batches(), sampler.steps_per_pass)
    numbers: list[int] = []
    for batch in batches:
        for unit in batch.reshape(-1, step).tolist():
            if len(numbers) < rows and unit[0] not in numbers:
                numbers += unit
    return np.array(numbers, np.int64)


class _Fixed:
    """A sampler whose every batch holds the same crops."""

    steps_per_pass = 1
    weights: np.ndarray | None = None

    def __init__(self, numbers: np.ndarray, sampler: Sampler):
        self._numbers = numbers
        self.paired = sampler.paired

    def batches(self, start: int = 0) -> Iterator[np.ndarray]:
        return itertools.repeat(self._numbers)

    def names(self, labels: np.ndarray) -> list[str]:
        """What each row is."""
        return [
            "pseudo-fake" if number < 0 else "fake" if labels[number] else "real"
            for number in self._numbers.tolist()
        ]


def _part(
    store: CropStore, sampler: _Fixed, config: PreviewConfig, strength: str, draws: int
) -> np.ndarray:
    """Title and rows of one strength, RGB."""
    size = image_size_of(config.model)

    def batches(augmentation: str, count: int) -> list[np.ndarray]:
        data = training_dataset(
            store, sampler, lambda crops: decode_images(crops, size), augmentation, config.seed
        )
        return [batch[0].numpy() for batch in data.take(count)]

    columns = batches("none", 1) + batches(strength, draws)
    pixels = np.clip(np.rint((np.stack(columns, axis=1) + 1.0) * 127.5), 0, 255).astype(np.uint8)
    line = np.hstack([_title("as it is"), *(_title(f"draw {i + 1}") for i in range(draws))])
    head = _title(f"training.augmentation={strength}", line.shape[1])
    rows = [
        _row(row, name) for row, name in zip(pixels, sampler.names(store.table.labels), strict=True)
    ]
    return np.vstack([head, line, *rows])


def _row(crops: np.ndarray, name: str) -> np.ndarray:
    shrinks = crops.shape[1] > _CELL
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    cells = [cv2.resize(crop, (_CELL, _CELL), interpolation=interpolation) for crop in crops]
    row = np.ascontiguousarray(np.hstack(cells))
    colour = _GREEN if name == "real" else _RED
    cv2.rectangle(row, (0, 0), (4, _CELL), colour, -1)
    cv2.rectangle(row, (0, _CELL - 16), (10 + 8 * len(name), _CELL), (255, 255, 255), -1)
    _write(row, name, (6, _CELL - 4), colour)
    return row


def _title(text: str, width: int = _CELL) -> np.ndarray:
    line = np.full((_LINE, width, 3), 255, np.uint8)
    _write(line, text, (6, 15), _BLACK)
    return line


def _write(
    picture: np.ndarray, text: str, place: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
