"""Steps that cannot be stopped, and requests that do not wait for them."""

import concurrent.futures
import time

import grpc
import pytest
import tensorflow as tf
from serving_support.models import half_plus_two
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.server.config import ServedModelConfig, ServerOptions
from serving.server.server import Server
from serving.server.text_config import BatchingConfig

pytestmark = pytest.mark.integration


def long_step(folder):
    """Answers after 200 multiplications of 512 x 512 matrices in a row, and no loop.

    TensorFlow looks for deadlines between the turns of a loop only.
    """

    class Long(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def serving_default(self, x):
            matrix = tf.fill([512, 512], tf.reduce_sum(x) / 1024)
            for _ in range(200):
                matrix = tf.matmul(matrix, matrix)
            return {"y": x + matrix[0, 0]}

    module = Long()
    tf.saved_model.save(module, str(folder), {"serving_default": module.serving_default})


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deadlines")
    long_step(folder / "long" / "1")
    half_plus_two(folder / "short" / "1")
    return [ServedModelConfig(name, str(folder / name)) for name in ("long", "short")]


@pytest.mark.difference
@pytest.mark.parametrize(
    "options",
    [{"slots": 1}, {"slots": 2}, {"batching": BatchingConfig(4, 0, num_batch_threads=1)}],
    ids=["a slot", "slots", "batches"],
)
def test_late_steps_hold_up_no_other_model(models, options):
    """Two requests whose deadlines pass, then a small one: answered while their steps still run."""
    server = Server(models, ServerOptions(port=0, rest_port=None, drain_seconds=60, **options))
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            for model in ("short", "long"):
                stub.Predict(request(model), timeout=300)
            start = time.monotonic()
            stub.Predict(request("long"), timeout=300)
            step = time.monotonic() - start
            with concurrent.futures.ThreadPoolExecutor(2) as threads:
                late = [threads.submit(code_of, stub, "long", step / 10) for _ in range(2)]
            assert {call.result() for call in late} == {grpc.StatusCode.DEADLINE_EXCEEDED}
            start = time.monotonic()
            answer = stub.Predict(request("short"), timeout=300)
            waited = time.monotonic() - start
            assert list(answer.outputs["y"].float_val) == [3.0]
            # Two steps at once take each other's cores: alone, they would be over sooner. Where
            # other programs took them from the small one, the steps still run.
            assert waited < step / 2 or steps_left(server) == options.get("slots", 1)
    finally:
        server.stop()


def steps_left(server):
    """How many steps run whose requests were answered."""
    runner = server._runner
    return runner._batcher._abandoned_batches if runner._batcher else len(runner._slots._deadlines)


def request(model):
    message = predict_pb2.PredictRequest()
    message.model_spec.name = model
    message.inputs["x"].CopyFrom(tf.make_tensor_proto([2.0]))
    return message


def code_of(stub, model, seconds):
    try:
        stub.Predict(request(model), timeout=seconds)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK
