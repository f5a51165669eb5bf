"""The starter: the model that comes with the program, used where none is named."""

from __future__ import annotations

import sys
from pathlib import Path

from preprocessing.support.errors import UsageError

# Package data: beside the code in a checkout as well as in an installed wheel.
FOLDER = Path(__file__).resolve().parents[1] / "starter"


def starter_path(option: str = "--model") -> Path:
    """The folder of the starter's versions.

    Args:
      option: option that names another model, for the message.

    Raises:
      UsageError: there is no starter.
    """
    if not any(FOLDER.glob("[0-9]*/saved_model.pb")):
        raise UsageError(
            f"no model is named, and the starter is not there: {FOLDER} holds no version of a "
            f"model; name one with {option} DIR (`deepfake run` trains one)"
        )
    return FOLDER


def starter_line() -> str:
    """What the starter is, in one line, from its card.

    Raises:
      UsageError: its card cannot be read, or does not say what it comes from.
    """
    # Loads numpy, which the help of a command must not.
    from serving.model import card

    folder = card.find_saved_model(FOLDER)
    provenance = card.read(folder).provenance
    if provenance is None:
        raise UsageError(
            f"{folder / card.FILE} has no section `provenance`: nobody knows what the starter was "
            "trained on; add the section, or name another model"
        )
    return f"no model is named, so the starter answers. {provenance.line()}"


def named_or_starter(model: str | None, option: str = "--model") -> str:
    """The model that a command was given; else the starter, which standard error tells.

    Args:
      model: folder of the model; None or empty for the starter.
      option: option of the command that names it.

    Raises:
      UsageError: see `starter_path` and `starter_line`.
    """
    if model:
        return model
    path = starter_path(option)
    print(starter_line(), file=sys.stderr, flush=True)
    return str(path)
