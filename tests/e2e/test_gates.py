"""What is pushed and what is not, and why, through the real Evaluator, ClipEvaluator and Pusher."""

import numpy as np
import pytest
from e2e.gate_bench import PERMISSIVE, Crops, judge, normal
from sklearn import metrics as sk

from serving.model.aggregation import probability

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

GOOD = [Crops(0, normal(-0.7)), Crops(1, normal(0.7), "swap")]


def gate(**changes):
    return PERMISSIVE.replace(**changes)


def test_a_model_that_holds_every_bound_is_pushed_and_measured_alike(tmp_path):
    """Also that TFMA's frame metrics, ours, and scikit-learn's on the dumped scores agree."""
    from components.evaluation import frame_gate, results

    strict = gate(min_accuracy=0.7, min_auc=0.8, slices=("method: auc >= 0.8",))
    found = judge(tmp_path, GOOD, gate=strict, clip_gate=strict)
    assert found.refused == []
    assert found.frames_blessed
    assert found.blessed
    assert (found.pushed / "saved_model.pb").exists()
    assert [row.slice for row in found.frames] == ["", "", "method=swap"]

    crops = results.read_scores(found.clip_evaluation, "test", "crops")
    labels, scores = crops["label"].to_numpy(), crops["score"].to_numpy()
    ours = results.read(found.clip_evaluation).splits["test"].to_dict()
    frames = {name: one["value"] for name, one in ours["crops"][0]["metrics"].items()}
    independent = {
        "auc": sk.roc_auc_score(labels, scores),
        "average_precision": sk.average_precision_score(labels, scores),
        "accuracy": sk.accuracy_score(labels, scores > 0.5),
        "log_loss": sk.log_loss(labels, scores),
        "brier": sk.brier_score_loss(labels, scores),
    }
    for name, value in independent.items():
        assert frames[name] == pytest.approx(value, abs=1e-6)
    tfma = frame_gate.metrics_by_slice(str(found.evaluation))
    assert tfma[""]["auc"] == pytest.approx(frames["auc"], abs=1e-3)
    assert tfma[""]["binary_accuracy"] == pytest.approx(frames["accuracy"], abs=1e-3)
    for one in ours["crops"][1:]:
        theirs = tfma[f"{one['key']}={one['value']}"]
        assert theirs["example_count"] == one["real"] + one["fake"]
        assert theirs["auc"] == pytest.approx(one["metrics"]["auc"]["value"], abs=1e-3)
    # And clips follow from crops by the house's aggregation: both crops of a clip are alike here.
    clips = results.read_scores(found.clip_evaluation, "test", "clips")
    logits = dict(zip(crops["clip_id"], crops["logit"], strict=True))
    assert clips["logit"].tolist() == pytest.approx([logits[clip] for clip in clips["clip_id"]])
    np.testing.assert_allclose(clips["score"], probability(clips["logit"].to_numpy()))


FAILING = {
    "accuracy of frames": (
        {"gate": gate(min_accuracy=0.95)},
        ["frame accuracy 0.850 < 0.950"],
    ),
    "auc of frames and accuracy of clips": (
        {"gate": gate(min_auc=0.99), "clip_gate": gate(min_accuracy=0.95)},
        ["frame auc 0.955 < 0.990", "clip accuracy 0.850 < 0.950"],
    ),
    "auc of clips": ({"clip_gate": gate(min_auc=0.99)}, ["clip auc 0.955 < 0.990"]),
    "one slice": (
        {
            "crops": [*GOOD, Crops(1, normal(-0.6), "morph", prefix="b")],
            "gate": gate(min_auc=0.6, slices=("method=swap: auc >= 0.8", "method: auc >= 0.7")),
            "clip_gate": gate(slices=("method=morph: auc >= 0.7",)),
        },
        [
            "frame auc of method=morph 0.549 < 0.700",
            "clip auc of method=morph 0.549 < 0.700",
        ],
    ),
    "change against the baseline": (
        {
            "gate": gate(max_auc_drop=0.02),
            "clip_gate": gate(max_auc_drop=0.02),
            "scale": -1.0,
            "baseline_scale": 1.0,
        },
        [
            "frame auc against the last blessed model -0.910 < -0.020",
            "clip auc against the last blessed model -0.910 < -0.020",
        ],
    ),
    "largest values and rates of clips": (
        {
            "clip_gate": gate(
                bounds=(
                    "eer <= 0.1",
                    "tpr_at_fpr_1pct >= 0.9",
                    "log_loss <= 0.9",
                    "method: calibration_error <= 0.01",
                )
            )
        },
        [
            "clip eer 0.150 > 0.100",
            "clip tpr_at_fpr_1pct 0.700 < 0.900",
            "clip calibration_error of method=swap 0.183 > 0.010",
        ],
    ),
    "largest values and rates of frames": (
        {"gate": gate(bounds=("brier <= 0.1", "tpr_at_fpr_1pct >= 0.9", "method: brier <= 0.9"))},
        ["frame tpr_at_fpr_1pct 0.700 < 0.900", "frame brier 0.133 > 0.100"],
    ),
    "interval of the change of clips against the baseline": (
        {
            "clip_gate": gate(max_auc_drop=0.02, drop_by="interval"),
            "scale": -1.0,
            "baseline_scale": 1.0,
        },
        [
            "clip auc against the last blessed model, low end of the 95% interval -0.990 < -0.020",
        ],
    ),
    "only one class": (
        {"crops": [GOOD[1]]},
        [
            "frame auc >= 0.000: not measured (only fake crops)",
            "clip auc >= 0.000: not measured (no real one: both classes are needed)",
        ],
    ),
    "only one class in the slice": (
        {
            "crops": [*GOOD, Crops(0, normal(-0.7), prefix="c", source="elsewhere")],
            "gate": gate(slices=("source=elsewhere: auc >= 0.0",)),
            "clip_gate": gate(slices=("source: auc >= 0.0",)),
        },
        [
            "frame auc of source=elsewhere >= 0.000: not measured (only real crops)",
            "clip auc of source=elsewhere >= 0.000: "
            "not measured (no fake one: both classes are needed)",
        ],
    ),
    "no such slice": (
        {
            "gate": gate(slices=("method=morph: auc >= 0.0",)),
            "clip_gate": gate(slices=("compression: accuracy >= 0.0",)),
        },
        [
            "frame auc of method=morph >= 0.000: not measured (no crop of it was tested)",
            "clip accuracy of compression >= 0.000: not measured (no clip of it was tested)",
        ],
    ),
    "scores that are no numbers": (
        {"crops": [*GOOD, Crops(1, [float("nan")], "swap", prefix="n")]},
        [
            "clip share of scores that are numbers 0.976 < 1.000",
            "clip accuracy >= 0.000: not measured (1 of 41 scores are not numbers)",
            "clip auc >= 0.000: not measured (1 of 41 scores are not numbers)",
        ],
    ),
}


# One of each kind in every test run, the others with the slow ones: TFMA takes seconds each time.
_QUICK = (
    "largest values and rates of frames",
    "auc of clips",
    "only one class",
    "scores that are no numbers",
)


@pytest.mark.parametrize(
    "case",
    [name if name in _QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAILING],
)
def test_a_model_that_fails_is_not_pushed_and_the_verdict_says_why(tmp_path, case):
    arguments, refused = FAILING[case]
    found = judge(tmp_path, **{"crops": GOOD, **arguments})
    assert found.refused == refused
    assert not found.blessed
    assert found.pushed is None
    assert found.frames_blessed is not any(text.startswith("frame") for text in refused)


def test_an_equal_baseline_passes(tmp_path):
    # TFMA's AUC is interpolated between thresholds, so a scaled copy's differs in the sixth place.
    same = gate(max_auc_drop=0.001)
    found = judge(tmp_path, GOOD, gate=same, clip_gate=same, baseline_scale=2.0)
    assert found.refused == []
    changes = [row for row in (*found.frames, *found.clips) if "blessed model" in row.metric]
    assert [(row.level, row.value) for row in changes] == [
        ("frame", pytest.approx(0, abs=1e-3)),
        ("clip", pytest.approx(0, abs=1e-6)),
    ]
    assert found.pushed


@pytest.mark.slow
def test_without_a_baseline_no_change_is_asked(tmp_path):
    found = judge(tmp_path, GOOD, gate=gate(max_auc_drop=0.0), clip_gate=gate(max_auc_drop=0.0))
    assert found.refused == []
    assert found.pushed
    assert not any("blessed model" in row.metric for row in found.clips)
