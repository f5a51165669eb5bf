"""Builds `report.html` and `report.json` from the artifacts of a run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from components.evaluation import results
from components.report.background import Pictures
from components.report.data import Sources, gather
from components.report.mistakes import Mistake, Score, with_pictures, worst
from components.report.page import render
from components.report.thumbnails import contact_sheet
from preprocessing.support.files import replacing
from serving.model.saved_model import load_saved_model

PAGE, DATA = "report.html", "report.json"
# Of each kind, false alarms and misses; an occlusion map of NASNetLarge takes 15 s on two cores.
_MISTAKES = 4
_SHEET = 12


def build(sources: Sources, folder: str | Path) -> Path:
    """Writes page and data.

    Args:
      sources: the run's artifacts.
      folder: made where need be.

    Returns:
      The page.

    Raises:
      UsageError: the model is not one of this project.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    data = gather(sources)
    # Where a score is NaN or infinite, no order tells the most confident ones.
    mistakes = _mistakes(sources) if data["curves"] else []
    sheet: list[tuple[int, bytes]] = []
    contact = b""
    if sources.records:
        if sources.extraction:
            with contextlib.suppress(FileNotFoundError):
                contact = (Path(sources.extraction) / "contact_sheet.png").read_bytes()
        if not contact:
            sheet = contact_sheet(sources.records, _SHEET)
    pictures = Pictures(mistakes, sheet, contact)
    data["mistakes"] = [mistake.row for mistake in pictures.mistakes]
    with replacing(folder / DATA) as file:
        json.dump(data, file, indent=1, default=str)
    with replacing(folder / PAGE) as file:
        file.write(render(data, pictures))
    return folder / PAGE


def _mistakes(sources: Sources) -> list[Mistake]:
    crops, tracks, clips = (
        results.read_scores(sources.clip_evaluation, "test", level)
        for level in ("crops", "tracks", "clips")
    )
    mistakes = worst(crops, tracks, clips, n=_MISTAKES)
    if not (mistakes and sources.records):
        return mistakes
    with _scorer(sources.model) as score:
        return with_pictures(mistakes, sources.records, score)


@contextlib.contextmanager
def _scorer(saved_model: str) -> Iterator[Score | None]:
    """Scores encoded crops through `serving_default`; None where a model lacks it."""
    import tensorflow as tf

    model = load_saved_model(saved_model)
    signature = model.signatures.get("serving_default")

    def score(crops: Sequence[bytes]) -> np.ndarray:
        return signature(image=tf.constant(crops))["logit"].numpy()

    yield score if signature is not None else None
