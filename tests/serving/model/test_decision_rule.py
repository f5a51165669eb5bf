"""The verdicts that a decision rule gives: made data silences them."""

import math

import pytest
from serving_support.words import CARD, conformal, make_thresholds

from serving.model.card import ModelCard
from serving.model.thresholds import NO_THRESHOLDS
from serving.model.verdict import NOT_A_VERDICT, DecisionRule, Verdict

THRESHOLDS = make_thresholds()
JUDGING_CARD = {**CARD, "conformal": conformal(2.0, 0.0)}


def test_real_data_gives_the_words_of_the_thresholds():
    rule = DecisionRule.of(ModelCard.from_dict(JUDGING_CARD))
    assert rule.warning == ""
    assert [rule.verdict(logit) for logit in (-1.0, 1.0, 3.0)] == ["real", "uncertain", "fake"]
    assert rule.meaning() == rule.thresholds.text()


def test_a_card_of_blended_fakes_promises_a_miss_rate_of_such_only():
    calibration = {"real": 100, "fake": 100, "blended_fakes": True}
    blended = DecisionRule.of(ModelCard.from_dict({**JUDGING_CARD, "calibration": calibration}))
    assert "at most 5.0% of fakes blended from val's real clips are" in blended.meaning()
    assert blended.at(miss_rate=0.2).meaning() == blended.at(miss_rate=0.2).thresholds.text(True)
    assert Verdict("f", None, decision_rule=blended).as_dict()["blended_fakes"] is True
    for calibration in (None, {"real": 100, "fake": 100}):
        ordinary = DecisionRule.of(
            ModelCard.from_dict({**JUDGING_CARD, "calibration": calibration})
        )
        assert "at most 5.0% of fakes are" in ordinary.meaning()


def test_an_unfamiliar_rate_is_told_in_full():
    familiarity = {"distances": {"values": [1.0], "cluster_sizes": [1]}}
    rates = {"unfamiliar_rate": 0.0004}
    values = {**JUDGING_CARD, "familiarity": familiarity, "verdict": rates}
    meaning = DecisionRule.of(ModelCard.from_dict(values)).meaning()
    assert "as at most 0.04% of clips like those of validation are" in meaning


def test_without_thresholds_there_is_no_word():
    assert DecisionRule().verdict(3.0) == ""
    assert DecisionRule().meaning() == NO_THRESHOLDS


@pytest.mark.parametrize("thresholds", [THRESHOLDS, None])
def test_made_data_gives_the_warning_in_place_of_every_word(thresholds):
    rule = DecisionRule(thresholds, made_data=True)
    assert {rule.verdict(logit) for logit in (-9.0, 1.0, 9.0)} == {NOT_A_VERDICT}
    assert rule.warning == NOT_A_VERDICT
    assert rule.meaning().startswith(NOT_A_VERDICT)
    for word in ("fake", "uncertain", "real:"):
        assert word not in rule.meaning()


def test_a_card_of_the_demo_silences_the_words():
    provenance = {"name": "demo", "summary": "s", "trained_on": [], "made_data": True}
    rule = DecisionRule.of(ModelCard.from_dict({**JUDGING_CARD, "provenance": provenance}))
    assert rule.made_data
    assert rule.thresholds
    assert rule.verdict(9.0) == NOT_A_VERDICT


def test_made_data_hides_no_broken_logit():
    with pytest.raises(ValueError, match="nan"):
        DecisionRule(THRESHOLDS, made_data=True).verdict(math.nan)


def test_answers_hold_warning_and_meaning():
    rule = DecisionRule(THRESHOLDS, made_data=True)
    answer = Verdict("f", 0.9, verdict=rule.verdict(2.2), decision_rule=rule, logit=2.2).as_dict()
    assert answer["verdict"] == answer["warning"] == NOT_A_VERDICT
    assert answer["meaning"] == rule.meaning()
    plain = Verdict(
        "f", 0.9, verdict="fake", decision_rule=DecisionRule(THRESHOLDS), logit=2.2
    ).as_dict()
    assert (plain["verdict"], plain["warning"]) == ("fake", "")
    assert plain["meaning"] == THRESHOLDS.text()
