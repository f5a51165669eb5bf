"""What TFMA computes on the test split, and the gate."""

from __future__ import annotations

import json

from tensorflow_model_analysis.proto import config_pb2

from pipeline.bounds import bounds_of
from pipeline.config import EvaluationConfig
from preprocessing.slices import KEYS

# TFMA's names of the metrics that the gate reads.
BINARY_ACCURACY, AUC, AUC_DIFF, MEAN_LABEL = "binary_accuracy", "auc", "auc_diff", "mean_label"

_OVERALL = config_pb2.SlicingSpec()
_CLASS_NAMES = {"accuracy": "BinaryAccuracy", "auc": "AUC"}
# Scores above which a crop counts as fake, for the confusion matrices.
_THRESHOLDS = (0.1, 0.25, 0.5, 0.75, 0.9)


def make_eval_config(evaluation: EvaluationConfig) -> config_pb2.EvalConfig:
    """Metrics per face crop, their slices, and the bounds that a model must hold to be blessed.

    Slices are those of preprocessing/slices.py: in that of a method, fakes are paired with reals.
    Bounds hold for all crops together, and for the slices that the configuration names.
    """
    gate = evaluation.gate
    change = config_pb2.GenericChangeThreshold(
        direction=config_pb2.MetricDirection.HIGHER_IS_BETTER,
        absolute={"value": -gate.max_auc_drop},
    )
    thresholds: dict[str, list[config_pb2.PerSliceMetricThreshold]] = {}
    for bound in bounds_of(gate):
        spec = _OVERALL
        if bound.value:
            spec = config_pb2.SlicingSpec(feature_values={bound.key: bound.value})
        elif bound.key:
            spec = config_pb2.SlicingSpec(feature_keys=[bound.key])
        overall_auc = bound.metric == "auc" and not bound.key
        thresholds.setdefault(_CLASS_NAMES[bound.metric], []).append(
            _bound(spec, bound.lower, change if overall_auc else None)
        )
    confusion = config_pb2.MetricConfig(
        class_name="ConfusionMatrixAtThresholds",
        config=json.dumps({"thresholds": _THRESHOLDS}),
    )
    metrics = [
        *(
            config_pb2.MetricConfig(class_name=name, per_slice_thresholds=thresholds.get(name))
            for name in ("ExampleCount", "MeanLabel", "BinaryAccuracy", "AUC")
        ),
        config_pb2.MetricConfig(class_name="Precision"),
        config_pb2.MetricConfig(class_name="Recall"),
        config_pb2.MetricConfig(class_name="Calibration"),
        confusion,
    ]
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                signature_name="serving_examples", label_key="label", prediction_key="score"
            )
        ],
        slicing_specs=[_OVERALL, *(config_pb2.SlicingSpec(feature_keys=[key]) for key in KEYS)],
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
        options=config_pb2.Options(
            compute_confidence_intervals={"value": evaluation.confidence_intervals}
        ),
    )


def _bound(
    spec: config_pb2.SlicingSpec,
    lower: float,
    change: config_pb2.GenericChangeThreshold | None = None,
) -> config_pb2.PerSliceMetricThreshold:
    return config_pb2.PerSliceMetricThreshold(
        slicing_specs=[spec],
        threshold=config_pb2.MetricThreshold(
            value_threshold=config_pb2.GenericValueThreshold(lower_bound={"value": lower}),
            change_threshold=change,
        ),
    )
