"""From the crops of a file to the answer about it, without a model or a detector."""

import types

import numpy as np
import pytest
from serving_support.words import CARD, conformal, make_thresholds

from preprocessing.faces.face_selection import FaceCounts
from serving.model.aggregation import NonFiniteLogits
from serving.model.card import ModelCard
from serving.model.familiarity import FEATURES, Familiarity, familiarity_section
from serving.model.outputs import CropOutputs
from serving.model.timeline import Moment, TrackScore
from serving.model.verdict import DecisionRule, Verdict, judge
from serving.model.windows import NO_WINDOWS, window_clips

THRESHOLDS = make_thresholds()


def crops(*tracks):
    return [
        types.SimpleNamespace(
            jpeg=b"crop %d" % number,
            track=track,
            frame=types.SimpleNamespace(index=5 * number, timestamp_ms=200 * number),
        )
        for number, track in enumerate(tracks)
    ]


def judged(tracks, logits):
    asked, rule = [], DecisionRule(THRESHOLDS)

    def outputs_of(jpegs):
        asked.append(list(jpegs))
        return CropOutputs(np.array(logits))

    counts = FaceCounts(frames=9, faces=len(tracks) + 1, crops=len(tracks), dropped={"blurred": 1})
    verdict = judge("clip.mp4", crops(*tracks), counts, outputs_of, rule, "m")
    assert asked == [[b"crop %d" % number for number in range(len(tracks))]]
    assert verdict.counts is counts
    assert verdict.file == "clip.mp4"
    assert verdict.reason == ""
    assert verdict.decision_rule is rule
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
    verdict = judge("wall.png", [], counts, never, DecisionRule(THRESHOLDS), "m")
    assert verdict == Verdict(
        "wall.png", None, counts=counts, reason="no face", decision_rule=DecisionRule(THRESHOLDS)
    )
    assert verdict.as_dict()["score"] is None


def test_logits_that_are_not_finite_name_model_and_file():
    broken = CropOutputs(np.array([1.0, np.nan]))
    with pytest.raises(NonFiniteLogits) as raised:
        judge("clip.mp4", crops(0, 1), FaceCounts(), lambda _: broken, DecisionRule(), "m")
    text = "1 of 2 logits are NaN or infinite, the first of them in clip.mp4"
    assert str(raised.value) == f"the model m gives no usable scores: {text}"


def test_each_face_of_a_track_has_a_moment():
    (first, second) = judged((0, 3, 0), [-1.0, 4.0, 1.0]).tracks
    assert [track.track for track in (first, second)] == [3, 0]
    assert second.timeline == (
        Moment(0, 0.0, pytest.approx(1 / (1 + np.exp(1.0))), -1.0),
        Moment(10, 0.4, pytest.approx(1 / (1 + np.exp(-1.0))), 1.0),
    )
    # Their scores are both 1.0.
    assert [track.track for track in judged((0, 1), [40.0, 60.0]).tracks] == [1, 0]
    (picture,) = judged((0,), [1.0]).tracks
    assert picture.timeline[0].seconds is None


def test_segments_follow_from_the_windows_of_the_card():
    windows = window_clips(np.linspace(-3, 0, 99), np.zeros(99), np.arange(99))
    rule = DecisionRule.of(ModelCard.from_dict({**CARD, "windows": windows}))
    logits = np.array([-2.0] * 6 + [3.0] * 3 + [-2.0] * 6)

    def outputs_of(jpegs):
        return CropOutputs(logits)

    verdict = judge("f", crops(*[4] * 15), FaceCounts(), outputs_of, rule, "m")
    answer = verdict.as_dict()
    assert answer["window"] == {"logit": 3.0, "p_value": pytest.approx(0.01)}
    assert answer["segments"] == [
        {
            "track": 4,
            "start": pytest.approx(1.1),
            "end": pytest.approx(1.7),
            "first_frame": 30,
            "last_frame": 40,
            "score": pytest.approx(1 / (1 + np.exp(-3.0))),
            "logit": 3.0,
        }
    ]
    assert answer["segments_meaning"].startswith("segments: within 20% of a track's frames")
    # A rate that validation's clips cannot show finds none.
    stricter = judge("f", crops(*[4] * 15), FaceCounts(), outputs_of, rule.at(0.005), "m")
    assert stricter.as_dict()["segments"] == []
    assert "cannot show 0.5%" in stricter.as_dict()["segments_meaning"]


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
    rule = DecisionRule(THRESHOLDS)
    verdict = Verdict(
        "clip.mp4", 0.75, (TrackScore(2, 0.75, 3),), counts, "", "uncertain", rule, 1.1
    )
    assert verdict.as_dict() == {
        "schema_version": 1,
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
        "tracks": [{"track": 2, "score": 0.75, "faces": 3, "timeline": []}],
        "p_values": None,
        "window": None,
        "segments": None,
        "familiarity": None,
        "thresholds": {
            "false_positive_rate": 0.01,
            "miss_rate": 0.05,
            "fake_above_logit": 2.0,
            "real_below_logit": 0.0,
            "real_clips": 400,
            "real_clusters": 300,
            "fake_clips": 200,
            "fake_clusters": 100,
            "guaranteed": True,
            "fake_above": pytest.approx(0.8808, abs=1e-4),
            "real_below": 0.5,
        },
        "blended_fakes": False,
        "meaning": THRESHOLDS.text(),
        "segments_meaning": NO_WINDOWS,
    }
    assert Verdict("clip.mp4", None).as_dict()["thresholds"] is None


def test_rates_are_those_asked_for_else_the_cards_else_the_usual():
    clips = {"real": {"values": list(map(float, range(100))), "cluster_sizes": [1] * 100}}
    clips = {**clips, "fake": clips["real"]}
    usual = DecisionRule.of(ModelCard.from_dict({**CARD, "conformal": clips}))
    assert (usual.rates.false_positive_rate, usual.rates.miss_rate) == (0.01, 0.05)
    assert usual.thresholds.fake_above_logit == 99.0
    rates = {"false_positive_rate": 0.2, "miss_rate": 0.1}
    cards = DecisionRule.of(ModelCard.from_dict({**CARD, "conformal": clips, "verdict": rates}))
    # (1 + 19) / 101 is at most 0.2; (1 + 9) / 101 at most 0.1. Both are ruled out between.
    assert (cards.thresholds.real_below_logit, cards.thresholds.fake_above_logit) == (9.0, 80.0)
    asked = cards.at(false_positive_rate=0.1)
    assert (asked.thresholds.real_below_logit, asked.thresholds.fake_above_logit) == (9.0, 90.0)
    assert asked == DecisionRule.of(
        ModelCard.from_dict({**CARD, "conformal": clips, "verdict": rates}), 0.1
    )


def test_cards_of_earlier_versions_give_their_words_and_say_so():
    points = [
        {"name": name, "threshold": 0.5, "logit": logit}
        for name, logit in (("eer", 0.0), ("fpr_0.01", 2.0), ("fpr_0.05", 1.0))
    ]
    section = {"points": points, "real_clips": 400, "fake_clips": 400}
    rule = DecisionRule.of(ModelCard.from_dict({**CARD, "operating_points": section}))
    assert rule.thresholds.fake_above_logit == 2.0
    assert rule.at(0.05).thresholds.fake_above_logit == 1.0
    assert "an earlier version exported the model" in rule.meaning()
    assert rule.p_values(1.0) is None
    answer = Verdict("f", 0.5, decision_rule=rule, logit=0.0).as_dict()
    assert answer["thresholds"]["guaranteed"] is False


def test_answers_say_how_the_score_ranks():
    card = ModelCard.from_dict({**CARD, "conformal": conformal(2.0, 0.0)})
    answer = Verdict("f", 0.9, decision_rule=DecisionRule.of(card), logit=2.5).as_dict()
    assert answer["p_values"] == {"real": pytest.approx(1 / 101), "fake": 1.0}
    assert Verdict("f", None, decision_rule=DecisionRule.of(card)).as_dict()["p_values"] is None


def appearing(*rows, logit=3.0):
    """The verdict on crops of two tracks that look so; distance, contrast and detail each."""
    rng = np.random.default_rng(0)
    looks = np.column_stack([np.linspace(10, 20, 40), rng.permutation(np.linspace(1, 2, 40))])
    card = ModelCard.from_dict(
        {
            **CARD,
            "conformal": conformal(2.0, 0.0),
            "familiarity": familiarity_section(
                np.linspace(0.1, 0.5, 40), looks, np.arange(40), ("contrast", "detail")
            ),
        }
    )
    outputs = CropOutputs(np.full(len(rows), logit), np.array(rows))
    tracks = [0] * (len(rows) - 1) + [1]
    return judge("f", crops(*tracks), FaceCounts(), lambda _: outputs, DecisionRule.of(card), "m")


def test_a_clip_far_from_the_training_is_unfamiliar_with_what_is_unusual():
    verdict = appearing((0.2, 15, 1.5), (0.2, 15, 1.5), (0.7, 15, 0.3))
    assert verdict.verdict == "unfamiliar"
    assert verdict.familiarity.distance == pytest.approx(0.7), "of the track that is furthest out"
    assert verdict.familiarity.p_value == pytest.approx(1 / 41)
    # Facts are means over all crops: (1.5 + 1.5 + 0.3) / 3.
    assert verdict.familiarity.facts == (FEATURES,)
    assert (
        "unfamiliar: unlike the training's crops, as at most 5.0%"
        in verdict.decision_rule.meaning()
    )
    assert verdict.as_dict()["familiarity"]["facts"] == list(verdict.familiarity.facts)


def test_facts_within_the_usual_leave_what_the_network_sees():
    assert appearing((0.7, 15, 1.5), (0.7, 15, 1.5)).familiarity.facts == (FEATURES,)
    (fact,) = appearing((0.7, 15, 0.3), (0.7, 15, 0.3)).familiarity.facts
    assert fact.startswith("detail 0.3, where 95% of val's clips have 1.0")


def test_a_clip_like_the_training_keeps_its_word_whatever_a_fact_is():
    verdict = appearing((0.3, 99, 9.0), (0.3, 99, 9.0))
    assert (verdict.verdict, verdict.familiarity.facts) == ("fake", ())
    assert verdict.familiarity.p_value > 0.4


def test_a_distance_that_is_no_number_gives_no_word():
    text = "1 of 2 distances to the training's crops are NaN or infinite, the first of them in f"
    with pytest.raises(NonFiniteLogits, match=f"^the model m gives no usable scores: {text}$"):
        appearing((np.nan, 15, 1.5), (0.2, 15, 1.5))


def test_of_logits_and_distances_that_are_no_numbers_the_logits_are_told():
    text = "2 of 2 logits are NaN or infinite, the first of them in f"
    with pytest.raises(NonFiniteLogits, match=f"^the model m gives no usable scores: {text}$"):
        appearing((np.nan, 15, 1.5), (np.nan, 15, 1.5), logit=np.nan)


def test_a_distance_alone_decides_as_well():
    rule = appearing((0.2, 15, 1.5), (0.2, 15, 1.5)).decision_rule
    assert rule.familiarity_of_distance(0.7).facts == (FEATURES,)
    assert rule.familiarity_of_distance(0.3).facts == ()
    assert rule.familiarity_of_distance(np.nan) is None
    assert DecisionRule().familiarity_of_distance(9.0) is None
    few = Familiarity.from_dict(
        familiarity_section(np.linspace(0, 1, 18), np.zeros((18, 0)), np.arange(18), ())
    )
    assert DecisionRule(familiarity=few).familiarity_of_distance(1e9).facts == (), (
        "too few to show 5%"
    )
