"""The gateway's metrics, as a Prometheus page.

The server's page is not made so: TensorFlow Serving's names do not fit prometheus-client, see
`serving.http.prometheus_page`.
"""

from __future__ import annotations

from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST.encode()
# From 50 ms, a picture, to some 7 minutes.
_BUCKETS = [0.05 * 2**step for step in range(14)]

_TENTHS = tuple(tenth / 10 for tenth in range(1, 10))

# What requests and jobs end with where the gateway, or what it needs, is at fault; alerts.yaml
# counts them.
_FAILURES = (
    "error", "failed", "model_error", "no_server", "no_settings", "timeout", "crashed", "busy",
)  # fmt: skip

# Times of creation, one more series for each counter, which no rule or panel asks for.
disable_created_metrics()


class GatewayMetrics:
    """What one gateway counts; times are in seconds."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = self._counter(
            "requests", "Requests for a verdict, by what they ended with.", "outcome"
        )
        self.seconds = Histogram(
            "deepfake_gateway_seconds",
            "Seconds of each part of a request: upload, wait, faces, scores, heat_maps, overlay.",
            ["part"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "deepfake_gateway_in_flight",
            "Requests for a verdict that are in the gateway.",
            registry=self._registry,
        )
        self.replaced = self._counter(
            "workers_replaced",
            "Workers that were ended for what a file did to them, or for its time.",
        )

        self.jobs = Gauge(
            "deepfake_gateway_jobs",
            "Jobs by state: waiting, running, and done or failed with their result kept.",
            ["state"],
            registry=self._registry,
        )
        self.jobs_ended = self._counter("jobs_ended", "Jobs by what they ended with.", "outcome")
        self.jobs_refused = self._counter(
            "jobs_refused",
            "Requests for a job that became none, by what they ended with.",
            "outcome",
        )
        for outcome in _FAILURES:
            # A series that appears with its first failures has not increased, for Prometheus.
            self.requests.labels(outcome)
            self.jobs_ended.labels(outcome)
            self.jobs_refused.labels(outcome)
        self.answers = self._counter(
            "answers",
            "Answers of requests and jobs, by version of the model and verdict.",
            "version",
            "verdict",
        )
        self.scores = Histogram(
            "deepfake_gateway_score",
            "Scores, by version of the model.",
            ["version"],
            buckets=_TENTHS,
            registry=self._registry,
        )
        self.familiarity = Histogram(
            "deepfake_gateway_familiarity",
            "p-values of files being like the model's own data, by version of the model; of such "
            "files they are spread evenly.",
            ["version"],
            buckets=(0.01, 0.05, *_TENTHS),
            registry=self._registry,
        )

    def answered(self, answer: dict[str, Any]) -> str:
        """Counts an answer by what it says.

        Args:
          answer: answer, see `serving.model.answer.Answer`.

        Returns:
          The word that requests and jobs with this answer are counted under.
        """
        version, outcome = str(answer["model"]["version"]), _outcome(answer)
        self.answers.labels(version, outcome).inc()
        if answer["score"] is not None:
            self.scores.labels(version).observe(answer["score"])
        if answer["familiarity"]:
            self.familiarity.labels(version).observe(answer["familiarity"]["p_value"])
        return outcome

    def page(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self._registry)

    def names(self) -> set[str]:
        """Names of the series that queries may ask for."""
        names = set()
        for family in self._registry.collect():
            parts = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
            names |= {f"{family.name}{part}" for part in parts.get(family.type, ("",))}
        return names

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(f"deepfake_gateway_{name}", help_text, labels, registry=self._registry)


def _outcome(answer: dict[str, Any]) -> str:
    if answer["score"] is None:
        return "no_face"
    return "made_data" if answer["warning"] else answer["verdict"] or "no_band"
