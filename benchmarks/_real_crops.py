"""Writes the shared sets of real face crops as records, for `benchmarks.real_faces`."""

from __future__ import annotations

import csv
import zlib
from pathlib import Path

import cv2
import numpy as np

from benchmarks._crops import Crops, make_transform_graph
from benchmarks._harness import media
from pipeline.config import Config
from preprocessing.extraction.dataset_extraction import extract_dataset
from preprocessing.faces.given_crops import encode_jpeg
from preprocessing.manifest.build import build_manifest
from preprocessing.support.errors import UsageError
from preprocessing.support.fingerprint import code_digest, settings_digest

SETS = {"celeb_df": "celeb_df_v2_faces", "dfdc": "dfdc_faces"}
# Originals of DFDC's train that choose the epoch; its val is what is reported.
_VAL_SHARE = 20


def folder_of(name: str) -> Path:
    """The folder of a set.

    Raises:
      UsageError: DEEPFAKE_TEST_MEDIA names no folder that holds it.
    """
    folder = media(SETS[name])
    if folder is None:
        raise UsageError(
            f"there is no {SETS[name]} in the folder that DEEPFAKE_TEST_MEDIA names; set it to the "
            "folder of real excerpts"
        )
    return folder


def make_records(output: Path, name: str, config: Config, every: int = 1) -> Crops:
    """Writes a set's crops as records, byte for byte, with the places of the faces in them.

    Args:
      output: gets a folder for the set; what an earlier call made there is used again.
      name: key of SETS.
      config: of a training on face crops; its crop settings and image size are read.
      every: only one of so many originals of train, with its fakes.

    Returns:
      The splits train, val and test. DFDC's val is test here, and 5% of the originals of its train
      are val.
    """
    output = output / (name if every == 1 else f"{name}-{every}")
    crops = Crops(output / "faces", output / "transform_graph")
    output.mkdir(parents=True, exist_ok=True)
    root = folder_of(name)
    clips = _write_list(output / "clips.csv", name, every)
    manifest = build_manifest(root, "list", "official", 0.1, 0.1, seed=1, list_file=clips)
    settings = config.extraction.crop_settings(config.data.precropped)
    size = config.model.image_size
    code = code_digest("benchmarks._real_crops")
    key = settings_digest(manifest.digest, settings.to_dict(), size, code)
    done = output / "done.txt"
    if not done.is_file() or done.read_text() != key:
        extract_dataset(manifest, settings, crops.faces, say=lambda _: None)
        make_transform_graph(crops.transform_graph, size)
        done.write_text(key)
    return crops


def training_clips(name: str) -> tuple[int, int, int]:
    """Real clips, fake clips and known persons of a set's train, as `make_records` divides it."""
    rows = [row for row in _rows(name) if row["split"] == "train"]
    clips = {row["clip"]: row["label"] for row in rows}
    persons = {person for row in rows for person in row["identities"].split("|") if person}
    fake = sum(label == "fake" for label in clips.values())
    return len(clips) - fake, fake, len(persons)


def _rows(name: str) -> list[dict[str, str]]:
    """The rows of a set's list; DFDC's val is test, and some of the originals of its train are val.

    Its own list has two splits, and an epoch is not to be chosen on what is reported.
    """
    with (folder_of(name) / "clips.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if name == "dfdc":
        for row in rows:
            of_train = "val" if _number(row) % _VAL_SHARE == 0 else "train"
            row["split"] = {"val": "test", "train": of_train}[row["split"]]
    return rows


def _number(row: dict[str, str]) -> int:
    """A number that a clip shares with what was made of it."""
    return zlib.crc32((row["group"] or row["clip"]).encode())


def _write_list(target: Path, name: str, every: int) -> Path:
    rows = _rows(name)
    chosen = [
        row for row in rows if row["split"] != "train" or _number(row) // _VAL_SHARE % every == 0
    ]
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(chosen)
    return target


def jittered(encoded: bytes, rng: np.random.Generator, amount: float = 0.1) -> bytes:
    """A crop as a detector would have cut it whose box is off by up to `amount`, as JPEG.

    Args:
      encoded: the crop.
      rng: draws the shift along both axes, in shares of the side, and the scale.
      amount: of both.
    """
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    height, width = pixels.shape[:2]
    scale = 1.0 + rng.uniform(-amount, amount)
    shift = rng.uniform(-amount, amount, 2) * (width, height)
    centre = np.array([width - 1, height - 1]) / 2
    matrix = np.column_stack([np.eye(2) * scale, centre - scale * centre + shift])
    moved = cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return encode_jpeg(cv2.cvtColor(moved, cv2.COLOR_BGR2RGB), 95)


def trivial_features(encoded: bytes) -> tuple[float, float, float]:
    """Features that need no face: sharpness, pixels a side, bytes."""
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE)
    return float(cv2.Laplacian(pixels, cv2.CV_64F).std()), float(max(pixels.shape)), len(encoded)
