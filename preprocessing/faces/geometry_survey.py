"""Surveys where faces lie in datasets of crops, for `deepfake index`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from preprocessing.faces.crop_geometry import Geometry
from preprocessing.faces.crop_meter import CropMeter
from preprocessing.media.decoder import Decoder
from preprocessing.media.frame import middles
from preprocessing.media.media_errors import DecodingFailed, UnreadableMedia
from preprocessing.support.files import local_copies

# Crops of a set; the median of the eyes' distance is then known to about 1%.
SAMPLE = 150
# Beyond this ratio a difference of scale is told: training's augmentation covers a fifth.
_APART = 1.15


def survey(root: Path, files_of: Mapping[str, Sequence[str]]) -> dict[str, list[Geometry]]:
    """Measures some crops of each set.

    Args:
      root: folder that the paths start from.
      files_of: name of a set -> POSIX paths of its crops, of which some are taken.

    Returns:
      Name of the set -> what was measured; crops without a face, or that cannot be decoded, are
      left out.
    """
    meter = CropMeter()
    measured: dict[str, list[Geometry]] = {}
    with Decoder() as decoder:
        for name, files in files_of.items():
            chosen = [files[place] for place in middles(len(files), SAMPLE)]
            with local_copies(root, chosen) as folder:
                crops = list(_decoded(decoder, (folder / file for file in chosen)))
            faces = zip(crops, meter.faces(crops), strict=True)
            measured[name] = [
                Geometry.of(face.landmarks, crop.shape) for crop, face in faces if face
            ]
    return measured


def survey_table(measured: Mapping[str, Sequence[Geometry]], wanted: Geometry) -> str:
    """The table of a survey, and a warning where sets differ in scale.

    Args:
      measured: see `survey`.
      wanted: what the configuration asks for.
    """
    width = max(map(len, ("set", "wanted", *measured)))
    head = f"{'set':{width}}  {'crops':>5}  {'eye distance':>20}  {'eye height':>20}"
    lines = [head, f"{'':{width}}  {'':>5}  {'10%, 50%, 90%':>20}  {'10%, 50%, 90%':>20}"]
    for name, geometries in measured.items():
        distances, heights = (
            _shares([getattr(geometry, value) for geometry in geometries])
            for value in ("eye_distance", "eye_height")
        )
        lines.append(f"{name:{width}}  {len(geometries):>5}  {distances:>20}  {heights:>20}")
    lines.append(
        f"{'wanted':{width}}  {'':>5}  {wanted.eye_distance:>20.2f}  {wanted.eye_height:>20.2f}"
    )
    for name, geometries in measured.items():
        if not geometries:
            lines.append(f"warning: no face was found in the crops of {name}")
            continue
        middle = float(np.median([geometry.eye_distance for geometry in geometries]))
        ratio = middle / wanted.eye_distance
        if not 1 / _APART < ratio < _APART:
            tighter = "tighter" if ratio > 1 else "wider"
            lines.append(
                f"warning: {name} is cut {tighter} than the configuration wants, by a factor of "
                f"{max(ratio, 1 / ratio):.2f}; set extraction.eye_distance={middle:.2f} if all "
                "sets have that"
            )
    return "\n".join(lines)


def _decoded(decoder: Decoder, files: Iterable[Path]) -> Iterable[np.ndarray]:
    for file in files:
        try:
            yield from (frame.pixels for frame in decoder.frames(file, 1))
        except (UnreadableMedia, DecodingFailed):
            continue


def _shares(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return "  ".join(f"{value:.2f}" for value in np.percentile(values, [10, 50, 90]))
