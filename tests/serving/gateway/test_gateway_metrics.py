"""What requests, jobs and answers are counted by, so that failures and drift are seen."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving_support.rules import alert_rules

from serving.gateway.metrics import GatewayMetrics


def answer(version, verdict, score, p_value=None, warning=""):
    return {
        "score": score,
        "verdict": verdict,
        "warning": warning,
        "familiarity": None if p_value is None else {"p_value": p_value},
        "model": {"version": version},
    }


def test_answers_are_counted_by_version_verdict_score_and_familiarity():
    metrics = GatewayMetrics()
    given = [
        answer(3, "fake", 0.97, 0.4),
        answer(3, "unfamiliar", 0.55, 0.02),
        answer(4, "", 0.3),
        answer(4, "not a verdict", 0.9, 0.04, "not a verdict"),
        answer(4, "", None),
    ]
    words = [metrics.answered(one) for one in given]
    assert words == ["fake", "unfamiliar", "no_band", "made_data", "no_face"]
    values = {
        # Labels come in the order of their names.
        (sample.name.removeprefix("deepfake_gateway_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics.page().decode())
        for sample in family.samples
    }
    for version, word in zip((3, 3, 4, 4, 4), words, strict=True):
        assert values["answers_total", word, str(version)] == 1
    assert values["score_count", "3"] == values["score_count", "4"] == 2
    assert values["score_bucket", "0.6", "3"] == 1
    assert values["score_sum", "4"] == pytest.approx(1.2)
    # What the alert rule asks for.
    assert values["familiarity_bucket", "0.05", "3"] == values["familiarity_count", "4"] == 1
    assert values["familiarity_count", "3"] == 2


def test_what_rules_count_is_on_the_page_before_the_first_failure():
    """Else Prometheus' `rate` and `increase` do not see those of one moment."""
    rules = " ".join(rule["expr"] for rule in alert_rules())
    counted = re.findall(r'(deepfake_gateway_\w+_total)\{outcome=~?"([\w|]+)"', rules)
    names = {name for name, _ in counted}
    assert {"deepfake_gateway_requests_total", "deepfake_gateway_jobs_ended_total"} <= names
    lines = GatewayMetrics().page().decode().splitlines()
    for name, outcomes in counted:
        for outcome in outcomes.split("|"):
            assert f'{name}{{outcome="{outcome}"}} 0.0' in lines
    assert "slow_upload" not in rules, "how fast clients send is not the gateway's fault"
