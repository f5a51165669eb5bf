"""A few clips for the tests that extract in parts."""

import json
from pathlib import Path
from typing import NamedTuple


class Excerpt(NamedTuple):
    """Clips to extract.

    Attributes:
      folder: folder of the clips.
      arguments: arguments of `deepfake extract`, without `--output`: two frames a clip.
      with_faces: clips with a face.
      without: clips without one.
    """

    folder: Path
    arguments: list[str]
    with_faces: int
    without: int


def make_excerpt(place: Path, folder: Path, data: dict, with_faces: int, without: int) -> Excerpt:
    """Writes the preset into a folder: `data` is its section of that name."""
    preset = place / "few_frames.yaml"
    values = {"name": "few", "data": data, "extraction": {"frames_per_clip": 2}}
    preset.write_text(json.dumps(values))
    return Excerpt(folder, ["--preset", str(preset), "--data", str(folder)], with_faces, without)
