"""Scores val and test through the exported model, measures clips, and blesses or refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tfx import types
from tfx.components.evaluator import constants
from tfx.components.util import model_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.evaluation import results
from components.evaluation.baseline import baselines
from components.evaluation.blessing import FINAL_PROPERTY
from components.evaluation.clip_gate import judge_clips
from components.evaluation.config import GateConfig
from components.evaluation.geometries import why_incomparable
from components.evaluation.measurement import compare, measure_split
from components.evaluation.measures import SplitMeasures
from components.evaluation.scores import ExampleScorer, clip_tables


class Executor(base_executor.BaseExecutor):
    """Executor of ClipEvaluator."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Scores, measures, judges.

        Args:
          input_dict: `examples`, `model`, `model_blessing` (the Evaluator's), and `baseline_model`,
            which may be absent or an empty folder.
          output_dict: `evaluation` and `blessing`, one artifact each.
          exec_properties: the parameters of ClipEvaluatorSpec.

        Raises:
          UsageError: the model to compare with was deleted.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        models = baselines(input_dict)
        model = artifact_utils.get_single_instance(input_dict["model"])
        folder = Path(artifact_utils.get_single_uri(output_dict["evaluation"]))
        folder.mkdir(parents=True, exist_ok=True)
        resamples = exec_properties["resamples"]

        scorer = ExampleScorer(_saved_model(model))
        measured: dict[str, SplitMeasures] = {}
        clips, finite = pd.DataFrame(), 1.0
        for split in ("val", "test"):
            files = _files(input_dict["examples"], split)
            crops = scorer.table(files, f"evaluate {split}")
            results.write_scores(folder, split, crops)
            measured[split] = measure_split(crops, resamples)
            if split == "test":
                clips = clip_tables(crops)[1]
                finite = float(np.isfinite(crops["logit"]).mean())
        comparison = None
        incomparable = why_incomparable(input_dict["model"], models)
        for baseline in [] if incomparable else models:
            crops = ExampleScorer(_saved_model(baseline)).table(
                _files(input_dict["examples"], "test"), "evaluate the last blessed model"
            )
            comparison = compare(clips, clip_tables(crops)[1], resamples)
            comparison = comparison.model_copy(update={"baseline": baseline.uri})
        gate = GateConfig.from_dict(json.loads(exec_properties["gate"]), key="gate")
        rows = judge_clips(gate, measured["test"].clips, finite, comparison, incomparable)
        results.write(folder, measured, rows, comparison)

        frames = artifact_utils.get_single_instance(input_dict["model_blessing"])
        blessed = model_utils.is_model_blessed(frames) and all(row.held for row in rows)
        _bless(artifact_utils.get_single_instance(output_dict["blessing"]), model, blessed)


def _saved_model(model: types.Artifact) -> str:
    return path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))


def _files(examples: list[types.Artifact], split: str) -> list[str]:
    folder = artifact_utils.get_split_uri(examples, split)
    return sorted(f"{folder}/{name}" for name in fileio.listdir(folder))


def _bless(blessing: types.Artifact, model: types.Artifact, blessed: bool) -> None:
    """Writes what TFX's Evaluator writes, so that Pusher and resolvers read it alike."""
    name = constants.BLESSED_FILE_NAME if blessed else constants.NOT_BLESSED_FILE_NAME
    io_utils.write_string_file(f"{blessing.uri}/{name}", "")
    blessing.set_string_custom_property(
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri
    )
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
    blessing.set_int_custom_property(
        constants.ARTIFACT_PROPERTY_BLESSED_KEY,
        constants.BLESSED_VALUE if blessed else constants.NOT_BLESSED_VALUE,
    )
    blessing.set_int_custom_property(FINAL_PROPERTY, 1)
