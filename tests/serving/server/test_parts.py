"""Admission, metrics and configuration: parts without a model."""

import contextlib
import json
import math
import threading
import time
import types

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import parser
from tensorflow_serving.config import model_server_config_pb2

from preprocessing.support.errors import UsageError
from serving.server import json_answer, json_request
from serving.server.batching import MAX_ABANDONED
from serving.server.config import VersionPolicy, models_from_proto, read_models_config
from serving.server.json_tensor import to_array
from serving.server.metrics import Metrics
from serving.server.runner import Admission, Slots
from serving.server.status_codes import HTTP_STATUS, Code, ServingError


def test_every_code_has_an_http_status():
    assert set(HTTP_STATUS) == set(Code)


def test_admission_refuses_beyond_its_limit_and_when_closed():
    admission = Admission(2, Metrics())
    with admission.admitted(), admission.admitted():
        with pytest.raises(ServingError) as raised:
            admission.enter()
        assert raised.value.code is Code.RESOURCE_EXHAUSTED
    with admission.admitted():
        pass
    assert admission.close(0)
    with pytest.raises(ServingError) as raised:
        admission.enter()
    assert raised.value.code is Code.UNAVAILABLE


def test_closing_waits_for_what_is_being_answered():
    admission = Admission(2, Metrics())
    admission.enter()
    assert not admission.close(0.01)
    threading.Timer(0.05, admission.leave).start()
    assert admission.close(60)


def test_metrics_page_is_what_prometheus_reads():
    metrics = Metrics()
    metrics.request_count.add('odd "name"\\', "OK")
    metrics.request_count.add('odd "name"\\', "OK")
    for value in (5, 15, 1e12):
        metrics.request_latency.observe("m", "Predict", "GRPC", value=value)
    samples = {}
    for family in parser.text_string_to_metric_families(metrics.page()):
        for sample in family.samples:
            samples[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    # The parser puts `_total` behind counters, as newer formats have it; the page must not.
    labels = (("model_name", 'odd "name"\\'), ("status", "OK"))
    assert samples[":tensorflow:serving:request_count_total", labels] == 2
    assert ':tensorflow:serving:request_count{model_name="odd' in metrics.page()
    base = (("API", "Predict"), ("entrypoint", "GRPC"), ("model_name", "m"))
    name = ":tensorflow:serving:request_latency"
    assert samples[f"{name}_count", base] == 3
    assert samples[f"{name}_sum", base] == pytest.approx(5 + 15 + 1e12)
    buckets = {
        float(dict(labels)["le"]): value
        for (key, labels), value in samples.items()
        if key == f"{name}_bucket"
    }
    assert buckets[10.0] == 1
    assert buckets[18.0] == 2
    assert buckets[math.inf] == 3
    assert len(buckets) == 34  # TensorFlow Serving's 33 bounds and infinity.


def test_failures_of_a_model_are_on_the_page_before_the_first():
    """Else Prometheus' `rate` and `increase` do not see those of one moment."""
    metrics = Metrics()
    metrics.add_model("m")
    lines = metrics.page().splitlines()
    for model in ("m", "(unknown)"):
        for code in Code:
            labels = f'{{model_name="{model}",status="{code.name}"}}'
            assert f":tensorflow:serving:request_count{labels} 0" in lines
    labels = '{model_path="m",status="fail"}'
    assert f":tensorflow:cc:saved_model:load_attempt_count{labels} 0" in lines


CONFIG = """model_config_list {
  config { name: "a" base_path: "models/a" model_platform: "tensorflow"
    model_version_policy { specific { versions: 3 versions: 5 } }
    version_labels { key: "stable" value: 3 } }
  config { name: "b" base_path: "/b" model_version_policy { latest { num_versions: 2 } } }
  config { name: "c" base_path: "/c" model_version_policy { all { } } }
  config { name: "d" base_path: "/d" }
}"""


def test_models_config(tmp_path):
    path = tmp_path / "models.config"
    path.write_text(CONFIG)
    a, b, c, d = read_models_config(str(path))
    assert (a.base_path, a.labels) == (str(tmp_path / "models/a"), {"stable": 3})
    assert a.policy == VersionPolicy("specific", 1, (3, 5))
    assert (b.policy.kind, b.policy.latest) == ("latest", 2)
    assert [config.policy.choose([1, 3, 5, 7]) for config in (a, b, c, d)] == [
        [5, 3],
        [7, 5],
        [7, 5, 3, 1],
        [7],
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "model_config_list { config { name: 'a' } }",
        "model_config_list { config { base_path: '/a' } }",
        "model_config_list { config { name: 'a' base_path: '/a' } config { name: 'a' "
        "base_path: '/b' } }",
        "model_config_list { config { name: 'a' base_path: '/a' model_platform: 'caffe' } }",
        "model_config_list { config { name: 'a' base_path: '/a' model_version_policy "
        "{ specific { } } } }",
    ],
)
def test_models_config_errors(text, tmp_path):
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    with pytest.raises(ServingError) as raised:
        models_from_proto(config)
    assert raised.value.code is Code.INVALID_ARGUMENT
    (tmp_path / "models.config").write_text(text)
    with pytest.raises(UsageError):
        read_models_config(str(tmp_path / "models.config"))


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.floats(width=32, allow_nan=False) | st.sampled_from([0.1, 1 / 3]), min_size=1, max_size=8
    )
)
def test_float32_survives_the_way_to_the_client_and_back(values):
    import tensorflow as tf

    sent = np.array(values, np.float32)
    body = json_answer.predictions({"y": sent}, by_rows=True)
    received = json_request.parse(body)["predictions"]
    assert np.array(received, np.float32).tobytes() == sent.tobytes()
    if np.isfinite(sent).all():
        assert to_array(received, tf.float32).tobytes() == sent.tobytes()


@pytest.mark.parametrize("depth", [100, 1000, 5000, 200_000])
def test_deep_nesting_is_refused(depth):
    import tensorflow as tf

    body = b'{"instances": ' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(ServingError) as raised:
        to_array(json_request.parse(body)["instances"], tf.float32)
    assert raised.value.code is Code.INVALID_ARGUMENT


@pytest.mark.difference
def test_slots_are_free_when_those_who_hold_them_are_late(monkeypatch):
    skipped = 0.0

    def now():
        return time.monotonic() + skipped

    monkeypatch.setattr("serving.server.runner.time", types.SimpleNamespace(monotonic=now))
    slots = Slots(1)
    with contextlib.ExitStack() as late:
        for _ in range(MAX_ABANDONED):
            late.enter_context(slots.taken(now() + 60))
            with pytest.raises(ServingError, match="in the queue") as raised:
                late.enter_context(slots.taken(now() + 0.05))
            assert raised.value.code is Code.DEADLINE_EXCEEDED
            skipped += 60
        start = time.monotonic()
        with pytest.raises(ServingError, match="still run") as raised:
            late.enter_context(slots.taken(now() + 60))
        assert raised.value.code is Code.RESOURCE_EXHAUSTED
        assert time.monotonic() - start < 30
    with slots.taken(now() + 60):
        pass


def test_a_slot_goes_to_who_waits_for_it():
    slots = Slots(1)
    taken = threading.Event()

    def wait():
        with slots.taken(time.monotonic() + 60):
            taken.set()

    with slots.taken(time.monotonic() + 60):
        thread = threading.Thread(target=wait)
        thread.start()
        assert not taken.wait(0.1)
    assert taken.wait(60)
    thread.join()


@pytest.mark.parametrize("shape", [(200_000,), (2, 100_000), (100_000, 3), (70_000, 2, 0), (3, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_large_arrays_are_written_in_parts_and_are_the_same(shape, dtype):
    array = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    assert json.loads(json_answer.predictions({"y": array}, by_rows=True)) == {
        "predictions": array.tolist()
    }
    assert json.loads(json_answer.predictions({"y": array}, by_rows=False)) == {
        "outputs": array.tolist()
    }
