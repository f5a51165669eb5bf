"""The server's metrics, under TensorFlow Serving's names."""

from __future__ import annotations

from serving.http.prometheus_page import Counter, Gauge, Histogram, MetricsPage
from serving.server.status_codes import Code

# Stands for the models of requests that name none that is configured.
UNKNOWN_MODEL = "(unknown)"


class Metrics(MetricsPage):
    """What the server counts. Times are in microseconds, as in TensorFlow Serving."""

    def __init__(self) -> None:
        base = "/tensorflow/serving"
        self.request_count = Counter(
            f"{base}/request_count", "The total number of requests.", ("model_name", "status")
        )
        self.request_latency = Histogram(
            f"{base}/request_latency",
            "Distribution of wall time (in microseconds) for requests.",
            ("model_name", "API", "entrypoint"),
        )
        self.runtime_latency = Histogram(
            f"{base}/runtime_latency",
            "Distribution of wall time (in microseconds) for the TensorFlow runtime.",
            ("model_name", "API", "runtime"),
        )
        self.example_count = Counter(
            f"{base}/request_example_count_total",
            "The total number of tensorflow.Examples.",
            ("model",),
        )
        self.example_counts = Histogram(
            f"{base}/request_example_counts",
            "The number of tensorflow.Examples per request.",
            ("model",),
            scale=1,
            growth=2,
            buckets=15,
        )
        self.warmup_latency = Histogram(
            f"{base}/model_warmup_latency",
            "Distribution of wall time (in microseconds) for warming up the model.",
            ("model_path", "status"),
        )
        self.queuing_latency = Histogram(
            f"{base}/batching_session/queuing_latency",
            "Distribution of wall time (in microseconds) spent in queuing.",
            ("thread_pool_name",),
            scale=100,
            growth=1.2,
            buckets=52,
        )
        self.load_attempts = Counter(
            "/tensorflow/cc/saved_model/load_attempt_count",
            "The number of times a SavedModel was requested to be loaded.",
            ("model_path", "status"),
        )
        # Beyond TensorFlow Serving: what operators of this server need as well.
        self.batch_size = Histogram(
            "/deepfake/serving/batch_size",
            "Rows of each batch that was run, without padding.",
            ("model_name",),
            scale=1,
            growth=2,
            buckets=11,
        )
        self.in_flight = Gauge(
            "/deepfake/serving/in_flight", "Inference requests that are being answered.", ()
        )
        self._create_requests(UNKNOWN_MODEL)

    def add_model(self, name: str) -> None:
        """Has the page show the counters of a model before there is anything to count.

        A series that appears with its first failures has not increased, for Prometheus.

        Args:
          name: name of the model.
        """
        self._create_requests(name)
        for status in ("success", "fail"):
            self.load_attempts.create(name, status)

    def _create_requests(self, model: str) -> None:
        for code in Code:
            self.request_count.create(model, code.name)
