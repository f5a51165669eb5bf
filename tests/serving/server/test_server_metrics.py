"""What the server's metrics page counts of requests."""

import grpc
import httpx
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

pytestmark = pytest.mark.integration


def post(url, instance):
    """The status that a request about one instance gets."""
    return httpx.post(url, json={"instances": [instance]}, timeout=60).status_code


def counted(server, name, **labels):
    """What a metric of the model `half_plus_two` has counted."""
    page = httpx.get(f"{server.rest}/monitoring/prometheus/metrics", timeout=60).text
    labels = {"model_name": "half_plus_two", **labels}
    pairs = ",".join(f'{key}="{value}"' for key, value in labels.items())
    start = f":tensorflow:serving:{name}{{{pairs}}} "
    return sum(int(line.split()[-1]) for line in page.splitlines() if line.startswith(start))


def test_metrics_count_requests_by_model_and_status(server):
    def count(status):
        return counted(server, "request_count", status=status)

    before = count("OK"), count("INVALID_ARGUMENT")
    url = f"{server.rest}/v1/models/half_plus_two:predict"
    assert post(url, 1) == 200
    assert post(url, "a") == 400
    post(f"{server.rest}/v1/models/no-such-model-of-a-fuzzer:predict", 1)
    assert (count("OK"), count("INVALID_ARGUMENT")) == (before[0] + 1, before[1] + 1)
    page = httpx.get(f"{server.rest}/monitoring/prometheus/metrics", timeout=60).text
    assert "fuzzer" not in page


def test_latencies_are_those_of_requests_that_were_answered(server):
    """As in TensorFlow Serving: refusals, which are quick, would hide how slow the others are."""

    def latencies():
        return [
            counted(server, "request_latency_count", API=api, entrypoint=entrypoint)
            for api, entrypoint in (("predict", "REST"), ("Predict", "GRPC"))
        ]

    url = f"{server.rest}/v1/models/half_plus_two:predict"
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "half_plus_two"
    with grpc.insecure_channel(server.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        before = latencies()
        assert post(url, "a") == 400
        with pytest.raises(grpc.RpcError):
            stub.Predict(request, timeout=60)
        assert latencies() == before
        assert post(url, 1) == 200
        request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
        stub.Predict(request, timeout=60)
    assert latencies() == [count + 1 for count in before]
