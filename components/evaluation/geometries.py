"""Whether a candidate and the last blessed model learnt from crops of one geometry."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.utils import path_utils

from preprocessing.faces.crop_settings import CropSettings
from preprocessing.support.errors import UsageError
from serving.model import card


def why_incomparable(candidates: list[types.Artifact], models: list[types.Artifact]) -> str:
    """Why the two models cannot be compared on the candidate's crops.

    A model that learnt from crops of another geometry scores these worse than its own, so a
    candidate that is worse would seem better.

    Args:
      candidates: artifacts of the channel `model`: one.
      models: artifacts that `baseline.baselines` gives: one, or none.

    Returns:
      The settings that differ, or that a card does not say; empty where the crops lie alike, or
      where there is nothing to compare with.
    """
    for candidate in candidates:
        for model in models:
            try:
                here, there = (_geometry(artifact) for artifact in (candidate, model))
            except UsageError as error:
                return f"nobody knows how its crops are cut: {error}"
            differing = [
                f"{name}={there[name]} instead of {here[name]}"
                for name in there
                if name in here and there[name] != here[name]
            ]
            if differing:
                return f"its crops are cut otherwise: {', '.join(differing)}"
    return ""


def _geometry(model: types.Artifact) -> dict[str, Any]:
    extraction = card.read(path_utils.serving_model_dir(model.uri)).extraction
    return CropSettings.from_card(extraction).geometry()
