"""What TFMA computes on the test split, and the gate."""

from __future__ import annotations

from tensorflow_model_analysis.proto import config_pb2

from pipeline.config import EvaluationConfig

# TFMA's names of the metrics that carry bounds.
BINARY_ACCURACY, AUC, AUC_DIFF = "binary_accuracy", "auc", "auc_diff"

_OVERALL = config_pb2.SlicingSpec()


def make_eval_config(evaluation: EvaluationConfig) -> config_pb2.EvalConfig:
    """Metrics per face crop, their slices, and the bounds that a model must hold to be blessed.

    Bounds hold for all crops together, not for every slice: a slice of one manipulation method
    has one class only, where AUC means nothing.
    """
    gate = evaluation.gate
    change = config_pb2.GenericChangeThreshold(
        direction=config_pb2.MetricDirection.HIGHER_IS_BETTER,
        absolute={"value": -gate.max_auc_drop},
    )
    metrics = [
        config_pb2.MetricConfig(class_name="ExampleCount"),
        config_pb2.MetricConfig(
            class_name="BinaryAccuracy", per_slice_thresholds=[_bound(gate.min_accuracy)]
        ),
        config_pb2.MetricConfig(
            class_name="AUC", per_slice_thresholds=[_bound(gate.min_auc, change)]
        ),
        config_pb2.MetricConfig(class_name="Precision"),
        config_pb2.MetricConfig(class_name="Recall"),
        config_pb2.MetricConfig(class_name="Calibration"),
    ]
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                signature_name="serving_examples", label_key="label", prediction_key="score"
            )
        ],
        slicing_specs=[
            _OVERALL,
            config_pb2.SlicingSpec(feature_keys=["dataset"]),
            config_pb2.SlicingSpec(feature_keys=["method"]),
        ],
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
        options=config_pb2.Options(
            compute_confidence_intervals={"value": evaluation.confidence_intervals}
        ),
    )


def _bound(
    lower: float, change: config_pb2.GenericChangeThreshold | None = None
) -> config_pb2.PerSliceMetricThreshold:
    return config_pb2.PerSliceMetricThreshold(
        slicing_specs=[_OVERALL],
        threshold=config_pb2.MetricThreshold(
            value_threshold=config_pb2.GenericValueThreshold(lower_bound={"value": lower}),
            change_threshold=change,
        ),
    )


def failed_metrics(evaluation_uri: str) -> set[str]:
    """Names of the metrics whose bounds an evaluation did not hold."""
    import tensorflow_model_analysis as tfma

    result = tfma.load_validation_result(evaluation_uri)
    return {
        failure.metric_key.name
        for slice_result in result.metric_validations_per_slice
        for failure in slice_result.failures
    }
