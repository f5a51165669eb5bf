"""Makes TFMA slice by components/evaluation/slices.py instead of the raw features."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.extractors import slice_key_extractor
from tensorflow_model_analysis.proto import config_pb2

from components.evaluation.scores import read_records
from components.evaluation.slices import methods_of, slices_of
from preprocessing.extraction import face_example as names

# The eval config carries, as slices, which methods the reals are paired with: extractors get
# nothing else of what an executor knows.
_METHOD = "method"


def custom_extractors(
    eval_shared_model: Any,
    eval_config: config_pb2.EvalConfig,
    tensor_adapter_config: Any,
) -> list[tfma.extractors.Extractor]:
    """TFMA's extractors, and ours before the one that reads the slices (TFX's Evaluator asks)."""
    extractors = tfma.default_extractors(
        eval_shared_model=eval_shared_model,
        eval_config=eval_config,
        tensor_adapter_config=tensor_adapter_config,
    )
    stages = [extractor.stage_name for extractor in extractors]
    place = stages.index(slice_key_extractor.SLICE_KEY_EXTRACTOR_STAGE_NAME)
    slices = tfma.extractors.Extractor(
        "FaceSlices", "FaceSlices" >> beam.Map(_with_slices, _paired(eval_config))
    )
    return [*extractors[:place], slices, *extractors[place:]]


def scan_methods(files: list[str]) -> dict[str, list[str]]:
    """Dataset -> manipulations in it, of TFRecord files of crops."""
    import tensorflow as tf

    def labelled(record: bytes) -> tuple[int, str, str]:
        feature = tf.train.Example.FromString(record).features.feature
        return (
            feature[names.LABEL].int64_list.value[0],
            feature[names.DATASET].bytes_list.value[0].decode(errors="replace"),
            feature[names.METHOD].bytes_list.value[0].decode(errors="replace"),
        )

    return methods_of(map(labelled, read_records(files)))


def add_methods(
    eval_config: config_pb2.EvalConfig, methods: Mapping[str, list[str]]
) -> config_pb2.EvalConfig:
    """The same configuration with the slices that pair the reals with each method."""
    paired = config_pb2.EvalConfig()
    paired.CopyFrom(eval_config)
    for dataset, names_of in methods.items():
        for method in names_of:
            paired.slicing_specs.add(feature_values={"dataset": dataset, _METHOD: method})
    return paired


def _paired(eval_config: config_pb2.EvalConfig) -> dict[str, list[str]]:
    methods: dict[str, list[str]] = {}
    for spec in eval_config.slicing_specs:
        if set(spec.feature_values) == {"dataset", _METHOD}:
            methods.setdefault(spec.feature_values["dataset"], []).append(
                spec.feature_values[_METHOD]
            )
    return methods


def _with_slices(extracts: dict[str, Any], methods: dict[str, list[str]]) -> dict[str, Any]:
    features = extracts[tfma.FEATURES_KEY]
    text = {
        name: np.asarray(features[name]).ravel()[0].decode(errors="replace")
        for name in (names.DATASET, names.METHOD, names.CLIP_ID, names.PAIR_ID)
    }
    x1, y1, x2, y2 = np.asarray(features[names.BOX]).ravel()
    slices = slices_of(
        label=int(np.asarray(features[names.LABEL]).ravel()[0]),
        dataset=text[names.DATASET],
        method=text[names.METHOD],
        clip_id=text[names.CLIP_ID],
        pair_id=text[names.PAIR_ID],
        face_size=float(max(x2 - x1, y2 - y1)),
        methods=methods,
    )
    changed = copy.copy(extracts)
    changed[tfma.FEATURES_KEY] = {
        **features,
        **{key: np.array([v.encode() for v in values], object) for key, values in slices.items()},
    }
    changed[tfma.PREDICTIONS_KEY] = _numbers(
        extracts[tfma.PREDICTIONS_KEY], int(np.asarray(features[names.LABEL]).ravel()[0])
    )
    return changed


def _numbers(predictions: Any, label: int) -> Any:
    """NaN and infinite scores become the worst possible: TFMA would stop with a traceback.

    ClipEvaluator refuses such a model and says why.
    """
    if isinstance(predictions, Mapping):
        return {key: _numbers(value, label) for key, value in predictions.items()}
    values = np.asarray(predictions)
    return np.where(np.isfinite(values), values, values.dtype.type(1 - label))
