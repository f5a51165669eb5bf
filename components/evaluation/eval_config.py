"""What TFMA computes on the test split, and the gate."""

from __future__ import annotations

import json

from tensorflow_model_analysis.proto import config_pb2

from components.evaluation.bounds import AT_LEAST, Bound
from components.evaluation.catalogue import FRAME_MEASURES
from components.evaluation.config import EvaluationConfig, bounds_of
from components.evaluation.slices import KEYS

# TFMA's names of the metrics that the gate reads.
BINARY_ACCURACY, AUC, AUC_DIFF, MEAN_LABEL = "binary_accuracy", "auc", "auc_diff", "mean_label"

_OVERALL = config_pb2.SlicingSpec()
# Scores above which a crop counts as fake, for the confusion matrices.
_THRESHOLDS = (0.1, 0.25, 0.5, 0.75, 0.9)


def make_eval_config(evaluation: EvaluationConfig) -> config_pb2.EvalConfig:
    """Metrics per face crop, their slices, and the bounds that a model must hold to be blessed.

    Slices are those of components/evaluation/slices.py: that of a method pairs fakes with reals.
    Bounds hold for all crops together, and for the slices that the configuration names.
    """
    gate = evaluation.gate
    change = config_pb2.GenericChangeThreshold(
        direction=config_pb2.MetricDirection.HIGHER_IS_BETTER,
        absolute={"value": -gate.max_auc_drop},
    )
    thresholds: dict[str, list[config_pb2.PerSliceMetricThreshold]] = {}
    for bound in bounds_of(gate):
        # The first one of AUC is that of everything; one change threshold is enough.
        first_auc = bound.metric == "auc" and "auc" not in thresholds
        thresholds.setdefault(bound.metric, []).append(
            _threshold(bound, change if first_auc else None)
        )
    confusion = config_pb2.MetricConfig(
        class_name="ConfusionMatrixAtThresholds",
        config=json.dumps({"thresholds": _THRESHOLDS}),
    )
    metrics = [
        config_pb2.MetricConfig(class_name="ExampleCount"),
        config_pb2.MetricConfig(class_name="MeanLabel"),
        *(
            config_pb2.MetricConfig(
                class_name=class_name,
                config=json.dumps(arguments) if arguments else "",
                per_slice_thresholds=thresholds.get(metric),
            )
            for metric, (class_name, arguments) in FRAME_MEASURES.items()
            if metric in thresholds or not arguments
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
            compute_confidence_intervals={"value": evaluation.confidence_intervals},
            # TFMA's own choice is the jackknife.
            confidence_intervals={"method": "POISSON_BOOTSTRAP"}
            if evaluation.confidence_intervals
            else None,
        ),
    )


def bounded_name(metric: config_pb2.MetricConfig) -> str:
    """The gate's name of a metric in a configuration; empty where it cannot be bounded."""
    metric_name = json.loads(metric.config).get("name", "") if metric.config else ""
    for name, (class_name, arguments) in FRAME_MEASURES.items():
        if class_name == metric.class_name and metric_name == arguments.get("name", ""):
            return name
    return ""


def tfma_name(metric: str) -> str:
    """TFMA's name, in its results, of a metric that can be bounded."""
    return {"accuracy": BINARY_ACCURACY, "auc": AUC}.get(metric, metric)


def _threshold(
    bound: Bound, change: config_pb2.GenericChangeThreshold | None
) -> config_pb2.PerSliceMetricThreshold:
    spec = _OVERALL
    if bound.value:
        spec = config_pb2.SlicingSpec(feature_values={bound.key: bound.value})
    elif bound.key:
        spec = config_pb2.SlicingSpec(feature_keys=[bound.key])
    side = "lower_bound" if bound.relation == AT_LEAST else "upper_bound"
    return config_pb2.PerSliceMetricThreshold(
        slicing_specs=[spec],
        threshold=config_pb2.MetricThreshold(
            value_threshold=config_pb2.GenericValueThreshold(**{side: {"value": bound.limit}}),
            change_threshold=change,
        ),
    )
