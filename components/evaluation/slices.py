"""The slices of a test set, the same for frames and clips.

A slice of fakes alone has one class, where AUC means nothing: so a slice of a method holds, besides
its fakes, all real crops of the same dataset, and a slice of a source holds the fakes that were
made from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

KEYS = ("dataset", "method", "source", "face_size", "compression")

# Longer side of the face box in pixels of the frame; the seed of most errors is little detail.
_FACE_SIZES = ((80, "under 80 px"), (160, "80 to 159 px"), (320, "160 to 319 px"))
_LARGEST_FACE = "320 px and more"
# Folders of FaceForensics++; other datasets do not tell how their clips were compressed.
_COMPRESSIONS = ("raw", "c23", "c40")
_REAL = 0
# Slices whose values are the same for all data.
FIXED_VALUES = {
    "face_size": (*(name for _, name in _FACE_SIZES), _LARGEST_FACE),
    "compression": _COMPRESSIONS,
}


def slices_of(
    *,
    label: int,
    dataset: str,
    method: str,
    clip_id: str,
    pair_id: str,
    face_size: float,
    methods: Mapping[str, Iterable[str]],
) -> dict[str, list[str]]:
    """The slices that a crop or a clip belongs to.

    Args:
      label: 0 = real, 1 = fake.
      dataset: name of its dataset.
      method: its manipulation; not read for real ones.
      clip_id: path of the clip.
      pair_id: path of the clip it was made from, or its own.
      face_size: longer side of the face box in pixels of the frame.
      methods: the manipulations of each dataset, which real ones are paired with.

    Returns:
      For each of `KEYS` the values; none where a slice is not known.
    """
    parts = PurePosixPath(clip_id).parts[:-1]
    return {
        "dataset": [dataset],
        "method": sorted(methods.get(dataset, ())) if label == _REAL else [method],
        "source": [_source(pair_id)] if label == _REAL or pair_id != clip_id else [],
        "face_size": [face_size_of(face_size)],
        "compression": [part for part in parts if part in _COMPRESSIONS],
    }


def face_size_of(pixels: float) -> str:
    """Name of the range that a face's size falls into."""
    for limit, name in _FACE_SIZES:
        if pixels < limit:
            return name
    return _LARGEST_FACE


def methods_of(labelled: Iterable[tuple[int, str, str]]) -> dict[str, list[str]]:
    """Dataset -> its manipulations, sorted, of (label, dataset, method)."""
    methods: dict[str, set[str]] = {}
    for label, dataset, method in labelled:
        if label != _REAL:
            methods.setdefault(dataset, set()).add(method)
    return {dataset: sorted(names) for dataset, names in sorted(methods.items())}


def _source(path: str) -> str:
    folders = [p for p in PurePosixPath(path).parts[:-1] if p not in ("videos", *_COMPRESSIONS)]
    return "/".join(folders) or "."
