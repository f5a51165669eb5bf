"""ServingCheck's executor: reads artifacts, checks, blesses."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tfx import types
from tfx.components.util import model_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.evaluation import results
from components.evaluation.blessing import MODEL_ID_PROPERTY
from components.evaluation.scores import CROP_KEY, key_and_crop
from components.evaluation.serving_result import ServingResult
from components.serving_check.check import Evaluated, ServingLimits, check_model, on_gpu
from preprocessing.extraction import face_example as names
from preprocessing.support import progress
from preprocessing.support.errors import UsageError

_LOG = logging.getLogger(__name__)


class Executor(base_executor.BaseExecutor):
    """Serves the candidate in a child process; see `component.ServingCheck`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the blessing and the report.

        A model that was refused before is not served: nobody may push it anyhow.

        Args:
          input_dict: `model`, `examples`, `evaluation` (ClipEvaluator's), `model_blessing`, and
            `infra_blessing`, which may be absent.
          output_dict: `blessing` and `report`, one artifact each.
          exec_properties: the parameters of ServingCheckSpec.

        Raises:
          UsageError: the split holds no example, or evaluation has no score of one.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_instance(input_dict["model"])
        refusal = _refusal(input_dict)
        if refusal:
            report = ServingResult(skipped=refusal)
        else:
            evaluated = _evaluated(input_dict, exec_properties["split"], exec_properties["crops"])
            detail = f"serving the candidate to {len(evaluated.crops)} crops"
            progress.report("serving check", 0, 0, detail)
            path = path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))
            with _local(path) as folder:
                limits = ServingLimits(**json.loads(exec_properties["limits"]))
                report = check_model(folder, evaluated, limits)
        self._write(report, model, output_dict)

    @staticmethod
    def _write(
        report: ServingResult, model: types.Artifact, output_dict: dict[str, list[types.Artifact]]
    ) -> None:
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        # What InfraValidator writes and Pusher reads.
        name = "INFRA_BLESSED" if report.blessed else "INFRA_NOT_BLESSED"
        io_utils.write_string_file(os.path.join(blessing.uri, name), "")
        blessing.set_int_custom_property("blessed", int(report.blessed))
        blessing.set_int_custom_property(MODEL_ID_PROPERTY, model.id)
        report.write(artifact_utils.get_single_uri(output_dict["report"]))
        for problem in report.problems:
            _LOG.error("not blessed: %s", problem)
        progress.report("serving check", 1, 1, report.text().splitlines()[0])


def _refusal(input_dict: dict[str, list[types.Artifact]]) -> str:
    """Why nobody may push the model, whatever the check finds; empty when nothing is known."""
    if not model_utils.is_model_blessed(
        artifact_utils.get_single_instance(input_dict["model_blessing"])
    ):
        return "the gate refused the model, so it was not served"
    infra = input_dict.get("infra_blessing")
    if infra and not model_utils.is_infra_validated(artifact_utils.get_single_instance(infra)):
        return "InfraValidator refused the model (its log says why), so it was not served here"
    return ""


def _evaluated(input_dict: dict[str, list[types.Artifact]], split: str, count: int) -> Evaluated:
    """The first `count` crops of a split with the logits that ClipEvaluator wrote down."""
    records = _records(artifact_utils.get_single_instance(input_dict["examples"]), split, count)
    if not records:
        raise UsageError(f"the split {split} holds no example to check the model with")
    scores = results.read_scores(
        artifact_utils.get_single_uri(input_dict["evaluation"]), split, "crops"
    )
    keys = zip(*(scores[name] for name in CROP_KEY), strict=True)
    logits = dict(zip(keys, scores["logit"], strict=True))
    crops, evaluated = [], []
    for record in records:
        key, crop = key_and_crop(record)
        if key not in logits:
            raise UsageError(f"the evaluation has no score of {names.CLIP_ID} {key[0]}")
        crops.append(crop)
        evaluated.append(logits[key])
    return Evaluated(crops, np.array(evaluated, np.float32), on_gpu())


def _records(examples: types.Artifact, split: str, count: int) -> list[bytes]:
    """The first `count` serialized examples of a split."""
    folder = artifact_utils.get_split_uri([examples], split)
    files = sorted(fileio.glob(os.path.join(folder, "*")))
    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP")
    return list(dataset.take(count).as_numpy_iterator())


@contextlib.contextmanager
def _local(path: str) -> Iterator[str]:
    """The folder itself where it is on this machine, else a copy."""
    if os.path.isdir(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        io_utils.copy_dir(path, f"{folder}/model")
        yield f"{folder}/model"
