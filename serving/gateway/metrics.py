"""The gateway's metrics, as a Prometheus page.

The server's page is not made so: TensorFlow Serving's names do not fit prometheus-client, see
`serving.http.prometheus_page`.
"""

from __future__ import annotations

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

# Times of creation, one more series for each counter, which no rule or panel asks for.
disable_created_metrics()


class GatewayMetrics:
    """What one gateway counts; times are in seconds."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "deepfake_gateway_requests",
            "Requests for a verdict, by what they ended with.",
            ["outcome"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "deepfake_gateway_seconds",
            "Seconds of each part of a request: upload, wait, faces, scores.",
            ["part"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "deepfake_gateway_in_flight",
            "Requests for a verdict that are in the gateway.",
            registry=self._registry,
        )
        self.replaced = Counter(
            "deepfake_gateway_workers_replaced",
            "Workers that were ended for what a file did to them, or for its time.",
            registry=self._registry,
        )

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
