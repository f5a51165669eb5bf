"""A tiny model in the place of the starter, and commands that take it for theirs."""

from __future__ import annotations

import json
from pathlib import Path

from serving_support.gateway import write_metadata
from serving_support.models import face_detector

from serving.model.card import FILE

PROVENANCE = {
    "name": "tiny",
    "summary": "a picture's brightness",
    "trained_on": [
        {"dataset": "lamps", "clips_real": 3, "clips_fake": 4, "persons": 2, "split": "train"}
    ],
    "figures": {"AUC per clip": {"value": 0.5, "low": 0.4, "high": 0.6, "on": "9 clips of lamps"}},
    "never_shown": "faces",
    "terms": "for tests only",
    "made_data": False,
}
# What its card says, in one line.
TOLD = (
    "Model: tiny: a picture's brightness. "
    "Trained on: lamps (3 real and 4 fake clips, 2 persons, split train). "
    "Figures: AUC per clip 0.500 [0.400, 0.600] on 9 clips of lamps. "
    "Never shown: faces. Terms: for tests only."
)


def make_starter(folder: Path, provenance: dict | None = PROVENANCE, **extraction) -> Path:
    """Version 1 of a starter whose logit is a picture's brightness.

    Args:
      folder: folder of the versions.
      provenance: provenance on its card; None leaves it out.
      **extraction: changes of its crop settings.
    """
    face_detector(folder / "1")
    write_metadata(folder / "1", real_below=0.6, fake_above=0.7, **extraction)
    if provenance is not None:
        path = folder / "1" / FILE
        path.write_text(json.dumps({**json.loads(path.read_text()), "provenance": provenance}))
    return folder


def with_starter(process, module: str, folder: Path):
    """A server's or gateway's process, not yet started, with its starter in another folder.

    Args:
      process: `ServerProcess` or `GatewayProcess`.
      module: name of the module whose `main` it runs.
      folder: folder of the starter.
    """
    code = (
        "import pathlib, sys\n"
        "from serving.model import starter\n"
        f"starter.FOLDER = pathlib.Path({str(folder)!r})\n"
        f"from {module} import main\n"
        "sys.exit(main())\n"
    )
    assert process._command[1:3] == ["-m", module.removesuffix(".main")]
    process._command[1:3] = ["-c", code]
    return process
