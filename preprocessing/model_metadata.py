"""What stands beside an exported model: what it must be fed, and what its score means.

Kept in the SavedModel's folder under `assets.extra`, which TensorFlow Serving leaves alone and
which goes along when the folder is copied.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from preprocessing.crop_settings import CropSettings
from preprocessing.errors import UsageError

FILE = "assets.extra/deepfake_model.json"
# Raised when a key changes its meaning or a required key is added.
VERSION = 1
# Keys that every reader may count on; `extraction` holds the crop parameters.
REQUIRED = ("version", "input_size", "positive_class", "temperature", "backbone")

_SAVED_MODEL = "saved_model.pb"


def find_saved_model(model_dir: str | Path) -> Path:
    """The SavedModel that a folder means.

    Args:
      model_dir: the SavedModel itself, a Trainer's output, or a folder of pushed versions (the
        highest number is taken).

    Returns:
      The folder that holds `saved_model.pb`.

    Raises:
      UsageError: there is none.
    """
    root = Path(model_dir)
    if not root.is_dir():
        raise UsageError(f"{model_dir} is not a folder; give the folder of an exported model")
    # Digits of ASCII: `int` does not read all that `isdigit` takes for one, as in "²".
    versions = [p for p in root.iterdir() if p.name.isascii() and p.name.isdigit()]
    versions.sort(key=lambda path: int(path.name), reverse=True)
    for folder in (root, root / "Format-Serving", *versions):
        if (folder / _SAVED_MODEL).is_file():
            return folder
    raise UsageError(
        f"{model_dir} holds no exported model: there is no {_SAVED_MODEL} in it, nor in a folder "
        "Format-Serving or with a version number as its name"
    )


def read(model_dir: str | Path) -> dict[str, Any]:
    """Reads the metadata of a model.

    Args:
      model_dir: see `find_saved_model`.

    Returns:
      The metadata; the keys of `REQUIRED` are there.

    Raises:
      UsageError: no model, a model without our metadata, or metadata of another version.
    """
    folder = find_saved_model(model_dir)
    path = folder / FILE
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"the model in {folder} was not exported by this pipeline: {FILE} is missing, so "
            "nobody knows which crops it wants; use a model that the pipeline pushed"
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({error}); export the model again") from error
    missing = [key for key in REQUIRED if key not in metadata] if isinstance(metadata, dict) else []
    if not isinstance(metadata, dict) or missing:
        raise UsageError(f"{path} is incomplete (without {', '.join(missing) or 'any key'})")
    if metadata["version"] != VERSION:
        raise UsageError(
            f"{path} has version {metadata['version']}, and this program reads version {VERSION}; "
            "use the program that exported the model, or export it again"
        )
    return metadata


def settings_of(metadata: dict[str, Any], precropped: bool = False) -> CropSettings:
    """The crops that a model wants.

    Args:
      metadata: of the model.
      precropped: whether the files are crops already.

    Raises:
      UsageError: this version cannot make them, or they must be given and are not.
    """
    try:
        settings = CropSettings.from_card(metadata["extraction"])
    except (KeyError, TypeError, UsageError) as error:
        raise UsageError(
            f"the model was trained on crops that this version cannot make ({error}); use the "
            "version of this project that trained it, or train again"
        ) from error
    if settings.precropped and not precropped:
        raise UsageError(
            "the model was trained on files that were crops already, so nobody knows how to cut "
            "faces for it; give it such crops, with --precropped"
        )
    return settings.replace(precropped=precropped)
