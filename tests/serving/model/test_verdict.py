"""From the crops of a file to the answer about it, without a model or a detector."""

import types

import numpy as np
import pytest

from preprocessing.faces.face_selection import FaceCounts
from serving.model.aggregation import NonFiniteLogits
from serving.model.card import ModelCard
from serving.model.thresholds import Thresholds
from serving.model.verdict import TrackScore, Verdict, Wording, judge

BAND = Thresholds(0.01, 2.0, 0.0, 400)


def crops(*tracks):
    return [
        types.SimpleNamespace(jpeg=b"crop %d" % number, track=track)
        for number, track in enumerate(tracks)
    ]


def judged(tracks, logits):
    asked, wording = [], Wording(BAND)

    def logits_of(jpegs):
        asked.append(list(jpegs))
        return np.array(logits)

    counts = FaceCounts(frames=9, faces=len(tracks) + 1, crops=len(tracks), dropped={"blurred": 1})
    verdict = judge("clip.mp4", crops(*tracks), counts, logits_of, wording, "m")
    assert asked == [[b"crop %d" % number for number in range(len(tracks))]]
    assert verdict.counts is counts
    assert verdict.file == "clip.mp4"
    assert verdict.reason == ""
    assert verdict.wording is wording
    return verdict


def test_the_most_suspicious_track_decides():
    verdict = judged((0, 3, 3, 7), [-1.0, 4.0, 2.0, 3.0])
    assert verdict.logit == pytest.approx(3.0)
    assert verdict.score == pytest.approx(1 / (1 + np.exp(-3.0)))
    assert verdict.verdict == "fake"
    # Equal tracks stand in the order of their numbers.
    assert [(entry.track, entry.faces) for entry in verdict.tracks] == [(3, 2), (7, 1), (0, 1)]
    scores = [1 / (1 + np.exp(-logit)) for logit in (3.0, 3.0, -1.0)]
    assert [entry.score for entry in verdict.tracks] == pytest.approx(scores)


@pytest.mark.parametrize(("logit", "word"), [(-0.5, "real"), (1.0, "uncertain"), (2.5, "fake")])
def test_the_word_follows_from_the_logit(logit, word):
    assert judged((0,), [logit]).verdict == word


def test_without_crops_no_model_is_asked():
    def never(jpegs):
        raise AssertionError("there is nothing to score")

    counts = FaceCounts(frames=4)
    verdict = judge("wall.png", [], counts, never, Wording(BAND), "m")
    assert verdict == Verdict(
        "wall.png", None, counts=counts, reason="no face", wording=Wording(BAND)
    )
    assert verdict.as_dict()["score"] is None


def test_logits_that_are_not_finite_name_model_and_file():
    with pytest.raises(NonFiniteLogits) as raised:
        judge(
            "clip.mp4", crops(0, 1), FaceCounts(), lambda _: np.array([1.0, np.nan]), Wording(), "m"
        )
    text = "1 of 2 logits are NaN or infinite, the first of them in clip.mp4"
    assert str(raised.value) == f"the model m gives no usable scores: {text}"


def test_the_answer_as_plain_values():
    counts = FaceCounts(
        frames=8,
        shots=2,
        faces=5,
        crops=3,
        dropped={"small": 2},
        note="rests on little",
        notes=["it is cut off"],
    )
    wording = Wording(BAND)
    verdict = Verdict(
        "clip.mp4", 0.75, (TrackScore(2, 0.75, 3),), counts, "", "uncertain", wording, 1.1
    )
    assert verdict.as_dict() == {
        "verdict": "uncertain",
        "warning": "",
        "score": 0.75,
        "logit": 1.1,
        "reason": "",
        "note": "rests on little",
        "notes": ["it is cut off"],
        "frames": 8,
        "shots": 2,
        "faces_found": 5,
        "faces": 3,
        "left_out": {"small": 2},
        "tracks": [{"track": 2, "score": 0.75, "faces": 3}],
        "thresholds": {
            "false_alarms": 0.01,
            "fake_above_logit": 2.0,
            "real_up_to_logit": 0.0,
            "real_clips": 400,
            "fake_above": pytest.approx(0.8808, abs=1e-4),
            "real_up_to": 0.5,
        },
        "meaning": BAND.text(),
    }
    assert Verdict("clip.mp4", None).as_dict()["thresholds"] is None


def test_the_share_of_false_alarms_chooses_the_thresholds():
    points = [
        {"name": name, "threshold": 0.5, "logit": logit}
        for name, logit in (("eer", 0.0), ("fpr_0.01", 2.0), ("fpr_0.05", 1.0))
    ]
    model_card = ModelCard.from_dict(
        {
            "version": 1,
            "input_size": 64,
            "positive_class": "fake",
            "temperature": 1.0,
            "backbone": "tiny",
            "operating_points": {"points": points, "real_clips": 400, "fake_clips": 400},
        }
    )
    assert Wording.of(model_card).thresholds.fake_above_logit == 2.0
    assert Wording.of(model_card, 0.05).thresholds.fake_above_logit == 1.0
