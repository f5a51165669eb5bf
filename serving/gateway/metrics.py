"""What the gateway counts, as a Prometheus page."""

from __future__ import annotations

from serving.http.prometheus_page import Counter, Gauge, Histogram, MetricsPage

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class GatewayMetrics(MetricsPage):
    """Counters of one gateway; times are in seconds."""

    def __init__(self) -> None:
        self.requests = Counter(
            "deepfake_gateway_requests_total",
            "Requests for a verdict, by what they ended with.",
            ("outcome",),
        )
        # From 50 ms, a picture, to some 7 minutes.
        self.seconds = Histogram(
            "deepfake_gateway_seconds",
            "Seconds of each part of a request: upload, wait, faces, scores.",
            ("part",),
            scale=0.05,
            growth=2,
            buckets=14,
        )
        self.in_flight = Gauge(
            "deepfake_gateway_in_flight", "Requests for a verdict that are in the gateway.", ()
        )
        self.replaced = Counter(
            "deepfake_gateway_workers_replaced_total",
            "Workers that were ended for what a file did to them, or for its time.",
            (),
        )
        self.replaced.add(by=0)
        # There from the start: a rate over a gauge that is not there is no alert.
        self.in_flight.set(to=0)
