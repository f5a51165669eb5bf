"""ServingCheck's executor: reads artifacts, checks, blesses."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.serving_check.check import Limits, Report, check_model
from preprocessing import progress
from preprocessing.errors import UsageError

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

        Raises:
          UsageError: the split holds no example.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_instance(input_dict["model"])
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        split = exec_properties["split"]
        records = _records(examples, split, exec_properties["crops"])
        if not records:
            raise UsageError(f"the split {split} holds no example to check the model with")
        limits = Limits(**json.loads(exec_properties["limits"]))
        progress.report("serving check", 0, 0, f"serving the candidate to {len(records)} crops")
        path = path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))
        with _local(path) as folder:
            report = check_model(folder, records, limits)
        self._write(report, output_dict)

    @staticmethod
    def _write(report: Report, output_dict: dict[str, list[types.Artifact]]) -> None:
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        # What InfraValidator writes and Pusher reads.
        name = "INFRA_BLESSED" if report.blessed else "INFRA_NOT_BLESSED"
        io_utils.write_string_file(os.path.join(blessing.uri, name), "")
        blessing.set_int_custom_property("blessed", int(report.blessed))
        target = artifact_utils.get_single_instance(output_dict["report"])
        document = {"blessed": report.blessed, **dataclasses.asdict(report)}
        io_utils.write_string_file(
            os.path.join(target.uri, "report.json"), json.dumps(document, indent=1) + "\n"
        )
        if report.blessed:
            progress.report("serving check", 1, 1, f"blessed; p50 in ms: {_rounded(report.p50_ms)}")
            return
        for problem in report.problems:
            _LOG.error("not blessed: %s", problem)
        progress.report("serving check", 1, 1, f"not blessed: {report.problems[0]}")


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


def _rounded(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.0f}" for name, value in values.items())
