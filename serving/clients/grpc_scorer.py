"""Scores over gRPC."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.clients.base import ClientSettings, Scorer, ScoringError, no_output

# gRPC by itself takes the first address of a name that answers, which is the same for all clients.
_RANDOM_ADDRESS = '{"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": true}}]}'


class GrpcScorer(Scorer):
    """Asks PredictionService.Predict.

    Args:
      address: `host:port`. Of several addresses of the host one is asked, chosen at random, while
        its connection lasts.
      model: see `Scorer`.
      settings: see `Scorer`.
      version: see `Scorer`.
      tls: whether the server speaks TLS.
    """

    def __init__(
        self,
        address: str,
        model: str,
        settings: ClientSettings,
        version: int | None = None,
        tls: bool = False,
    ):
        super().__init__(model, settings, version)
        self._address, self._tls, self._closed = address, tls, False
        options = [
            ("grpc.max_receive_message_length", settings.max_message_bytes),
            ("grpc.max_send_message_length", settings.max_message_bytes),
            # What connecting may take: each file has a connection, and the server may be busy.
            ("grpc.min_reconnect_backoff_ms", 5000),
            # gRPC's own waits grow to two minutes, in which a server that is back gets no call.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.service_config", _RANDOM_ADDRESS),
            # Connections of other channels are ready at once, and so would be chosen each time.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if tls:
            authority = Path(settings.tls_ca).read_bytes() if settings.tls_ca else None
            credentials = grpc.ssl_channel_credentials(authority)
            self._channel = grpc.secure_channel(address, credentials, options)
        else:
            self._channel = grpc.insecure_channel(address, options)
        self._predict = prediction_service_pb2_grpc.PredictionServiceStub(self._channel).Predict
        self._status = model_service_pb2_grpc.ModelServiceStub(self._channel).GetModelStatus
        self._metadata = (
            (("authorization", f"Bearer {settings.token}"),) if settings.token else None
        )

    @contextlib.contextmanager
    def for_file(self) -> Iterator[Scorer]:
        """See `Scorer.for_file`: one with a connection of its own, to an address chosen anew."""
        with GrpcScorer(
            self._address, self.model, self.settings, self.version, self._tls
        ) as scorer:
            yield scorer

    def versions(self, deadline: float | None = None) -> list[int]:
        """See `Scorer.versions`."""
        request = get_model_status_pb2.GetModelStatusRequest(
            model_spec=model_pb2.ModelSpec(name=self.model)
        )
        response = self._with_retries(
            lambda seconds: self._call(self._status, request, seconds), self._end(deadline)
        )
        available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        numbers = [
            status.version for status in response.model_version_status if status.state == available
        ]
        return sorted(numbers, reverse=True)

    def close(self) -> None:
        """Closes the connections."""
        self._closed = True
        self._channel.close()

    def _request(
        self,
        crops: list[bytes],
        signature: str,
        names: Sequence[str],
        seconds: float,
        version: int | None,
    ) -> dict[str, np.ndarray]:
        # A name that is there twice is refused.
        request = predict_pb2.PredictRequest(output_filter=dict.fromkeys(names))
        request.model_spec.name = self.model
        request.model_spec.signature_name = signature
        if version is not None:
            request.model_spec.version.value = version
        tensor = request.inputs[self.settings.input_name]
        tensor.dtype = types_pb2.DT_STRING
        tensor.tensor_shape.dim.add(size=len(crops))
        tensor.string_val.extend(crops)
        outputs = self._call(self._predict, request, seconds).outputs
        for name in names:
            if name not in outputs:
                raise no_output(name)
        return {name: _array(outputs[name]) for name in names}

    def _call(self, method: Callable[..., Any], request: Any, seconds: float) -> Any:
        if self._closed:
            raise ScoringError("UNAVAILABLE", "this scorer was closed")
        try:
            return method(request, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            code = error.code()
            # This client cancels nothing. gRPC's core cancels what a server that stops has not
            # begun yet (https://github.com/grpc/grpc/issues/41785), and cuts off the rest.
            if code == grpc.StatusCode.CANCELLED:
                code = grpc.StatusCode.UNAVAILABLE
            raise ScoringError(code.name, error.details() or "") from error


def _array(tensor: tensor_pb2.TensorProto) -> np.ndarray:
    """The numbers in their shape; in one row where that is not theirs, which is then refused."""
    # TensorFlow Serving fills either field.
    if tensor.tensor_content:
        numbers = np.frombuffer(tensor.tensor_content, "<f4")
    else:
        numbers = np.array(tensor.float_val, np.float32)
    shape = [dimension.size for dimension in tensor.tensor_shape.dim]
    return numbers.reshape(shape) if math.prod(shape) == numbers.size and shape else numbers
