"""The gate, by a real TFMA run on predictions of no model: what is bounded, and what is not."""

import json

import pytest

from components.evaluation.catalogue import FRAME_MEASURES
from components.evaluation.config import EvaluationConfig, GateConfig

# TFMA is imported where it is used: collecting these tests costs the unit tests nothing.
pytestmark = pytest.mark.integration

GATE = EvaluationConfig(gate=GateConfig(min_accuracy=0.7, min_auc=0.8, max_auc_drop=0.02))


def thresholds(config):
    """Metric class -> its bounds."""
    (spec,) = config.metrics_specs
    return {m.class_name: m.per_slice_thresholds for m in spec.metrics if m.per_slice_thresholds}


def test_bounds_are_those_of_the_configuration_and_overall_only():
    from tensorflow_model_analysis.proto import config_pb2

    from components.evaluation.eval_config import make_eval_config

    config = make_eval_config(GATE)
    found = thresholds(config)
    assert set(found) == {"BinaryAccuracy", "AUC"}
    for (bound,) in found.values():
        assert list(bound.slicing_specs) == [config_pb2.SlicingSpec()]
    (accuracy,), (auc,) = found["BinaryAccuracy"], found["AUC"]
    assert accuracy.threshold.value_threshold.lower_bound.value == 0.7
    assert auc.threshold.value_threshold.lower_bound.value == 0.8
    assert auc.threshold.change_threshold.absolute.value == -0.02
    assert auc.threshold.change_threshold.direction == config_pb2.MetricDirection.HIGHER_IS_BETTER
    assert not accuracy.threshold.HasField("change_threshold")
    # `threshold` and `thresholds` would bound every slice.
    (spec,) = config.metrics_specs
    assert not spec.thresholds
    assert not spec.per_slice_thresholds
    assert not any(metric.HasField("threshold") for metric in spec.metrics)


def test_scores_come_from_the_signature_that_reads_examples():
    from components.evaluation import slices
    from components.evaluation.eval_config import make_eval_config
    from preprocessing.extraction import face_example

    (model,) = make_eval_config(GATE).model_specs
    assert (model.signature_name, model.prediction_key) == ("serving_examples", "score")
    assert model.label_key == face_example.LABEL
    keys = [list(spec.feature_keys) for spec in make_eval_config(GATE).slicing_specs]
    assert keys == [[], *([key] for key in slices.KEYS)]


def test_confusion_matrices_are_counted_at_rare_and_at_even_scores():
    from components.evaluation.eval_config import make_eval_config

    (spec,) = make_eval_config(GATE).metrics_specs
    (matrix,) = (m for m in spec.metrics if m.class_name == "ConfusionMatrixAtThresholds")
    assert json.loads(matrix.config) == {"thresholds": [0.1, 0.25, 0.5, 0.75, 0.9]}


def test_confidence_intervals_are_optional():
    from components.evaluation.eval_config import make_eval_config

    for wanted in (False, True):
        config = make_eval_config(GATE.replace(confidence_intervals=wanted))
        assert config.options.compute_confidence_intervals.value is wanted


def test_bounds_of_other_metrics_and_slices_are_handed_to_tfma():
    from tensorflow_model_analysis.proto import config_pb2

    from components.evaluation.eval_config import bounded_name, make_eval_config

    gate = GATE.gate.replace(
        bounds=("tpr_at_fpr_0.1pct >= 0.2", "method=a: brier <= 0.1", "auc <= 0.95")
    )
    (spec,) = make_eval_config(EvaluationConfig(gate=gate)).metrics_specs
    found = {
        bounded_name(metric): [
            (b.threshold.value_threshold, list(b.slicing_specs))
            for b in metric.per_slice_thresholds
        ]
        for metric in spec.metrics
        if metric.per_slice_thresholds
    }
    everything = [config_pb2.SlicingSpec()]
    bound = config_pb2.GenericValueThreshold
    assert found == {
        "accuracy": [(bound(lower_bound={"value": 0.7}), everything)],
        "auc": [
            (bound(lower_bound={"value": 0.8}), everything),
            (bound(upper_bound={"value": 0.95}), everything),
        ],
        "tpr_at_fpr_0.1pct": [(bound(lower_bound={"value": 0.2}), everything)],
        "brier": [
            (
                bound(upper_bound={"value": 0.1}),
                [config_pb2.SlicingSpec(feature_values={"method": "a"})],
            )
        ],
    }
    changes = [
        b.threshold.HasField("change_threshold")
        for metric in spec.metrics
        for b in metric.per_slice_thresholds
        if metric.class_name == "AUC"
    ]
    assert changes == [True, False], "the drop against the last blessed model is one row"


@pytest.fixture
def evaluate(tmp_path):
    """Runs TFMA on scores; returns its result, and which metrics did not hold their bounds."""
    import pandas as pd
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.utils import config_util

    from components.evaluation import frame_gate
    from components.evaluation.eval_config import make_eval_config

    def evaluate(scores, gate=GATE):
        """scores: method -> scores of its crops."""
        rows = pd.DataFrame(
            [
                {"label": float(method != "real"), "score": s, "method": method, "dataset": "d"}
                for method, values in scores.items()
                for s in values
            ]
        )
        # The Evaluator does the same when there is no blessed model yet.
        config = config_util.update_eval_config_with_defaults(
            make_eval_config(gate), has_baseline=False, rubber_stamp=True
        )
        result = tfma.analyze_raw_data(rows, config, output_path=str(tmp_path))
        rows = frame_gate.judge_frames(str(tmp_path), make_eval_config(gate))
        return result, {row.metric for row in rows if not row.held}

    return evaluate


def test_names_are_those_that_tfma_reports_and_a_bad_slice_alone_passes(evaluate):
    from components.evaluation.eval_config import AUC, BINARY_ACCURACY

    result, failed = evaluate(
        {"real": [0.1] * 8, "swap": [0.9] * 8, "reenactment": [0.05, 0.05, 0.2, 0.3]}
    )
    overall = result.get_metrics_for_slice(())
    assert {BINARY_ACCURACY, AUC, "example_count", "precision", "recall"} <= set(overall)
    assert overall[BINARY_ACCURACY]["doubleValue"] == pytest.approx(16 / 20)
    # Of 96 pairs of a fake and a real, 64 + 16 are in order.
    assert overall[AUC]["doubleValue"] == pytest.approx(80 / 96, abs=1e-3)
    missed = result.get_metrics_for_slice((("method", "reenactment"),))
    assert missed[BINARY_ACCURACY]["doubleValue"] == 0
    assert failed == set()


def test_failed_bounds_are_named(evaluate):
    _, failed = evaluate({"real": [0.1] * 8, "swap": [0.9] * 4 + [0.05] * 2})
    assert failed == {"auc"}


def test_bounds_are_compared_with_intervals_too(evaluate):
    from components.evaluation.eval_config import BINARY_ACCURACY

    scores = {"real": [0.1] * 8, "swap": [0.9] * 4 + [0.05] * 2}
    result, failed = evaluate(scores, GATE.replace(confidence_intervals=True))
    assert failed == {"auc"}
    accuracy = result.get_metrics_for_slice(())[BINARY_ACCURACY]["boundedValue"]
    assert accuracy["value"] == pytest.approx(12 / 14)
    # As an enumeration's first value it is left out.
    assert accuracy.get("methodology", "POISSON_BOOTSTRAP") == "POISSON_BOOTSTRAP"
    assert accuracy["lowerBound"] < accuracy["value"] < accuracy["upperBound"]


def test_every_metric_that_can_be_bounded_is_measured_by_tfma_and_by_us_alike(evaluate, tmp_path):
    import numpy as np

    from components.evaluation import frame_gate
    from components.evaluation.eval_config import make_eval_config, tfma_name
    from components.evaluation.metrics import measure

    rng = np.random.default_rng(0)
    logits = {"real": rng.normal(-1, 1, 300), "swap": rng.normal(1, 1, 300)}
    scores = {name: (1 / (1 + np.exp(-values))).tolist() for name, values in logits.items()}
    texts = [f"{name} >= 0.0001" for name in FRAME_MEASURES]
    failing = ("brier <= 0.001", "auc <= 0.901", "tpr_at_fpr_1pct >= 0.999")
    gate = GATE.gate.replace(bounds=(*texts, *failing))
    config = EvaluationConfig(gate=gate)
    result, failed = evaluate(scores, config)
    assert failed == {"brier", "auc", "tpr_at_fpr_1pct"}
    ours = measure(np.repeat([0, 1], 300), np.concatenate([logits["real"], logits["swap"]]))
    overall = result.get_metrics_for_slice(())
    for name in FRAME_MEASURES:
        found = overall[tfma_name(name)]["doubleValue"]
        assert found == pytest.approx(ours[name].value, abs=5e-3), name
    rows = frame_gate.judge_frames(str(tmp_path), make_eval_config(config))
    assert {row.relation for row in rows if not row.held} == {">=", "<="}
