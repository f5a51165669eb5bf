"""The gRPC interface: TensorFlow Serving's services, health and reflection."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any, cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from preprocessing.support.errors import UsageError
from preprocessing.support.versions import serving_service_names
from serving.http.arguments import url_host
from serving.http.bearer import authorized
from serving.server import protos
from serving.server.config import ServerOptions, models_from_proto
from serving.server.inference import Inference
from serving.server.metrics import UNKNOWN_MODEL, Metrics
from serving.server.profiler import add_profiler
from serving.server.runner import Admission
from serving.server.status_codes import Code, ServingError

_LOG = logging.getLogger(__name__)

# Of clients that name none; they would wait for ever otherwise.
_DEFAULT_SECONDS = 300.0
# Threads beyond those of admitted requests: refusals, status, health.
_SPARE_THREADS = 8

_RELOAD_METHOD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"

_STATUS = {code.value[0]: code for code in grpc.StatusCode}


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """tensorflow.serving.PredictionService.

    Args:
      inference: the methods.
      admission: bound of requests.
      metrics: metrics in which requests are counted.
    """

    def __init__(self, inference: Inference, admission: Admission, metrics: Metrics):
        self._inference = inference
        self._admission = admission
        self._metrics = metrics

    def Predict(self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext) -> Any:
        """Any signature, on tensors; the answer is serialized already."""
        return self._infer("Predict", protos.predict, protos.target_of, request, context)

    def Classify(
        self, request: classification_pb2.ClassificationRequest, context: grpc.ServicerContext
    ) -> Any:
        """A classification signature, on examples."""
        return self._infer("Classify", protos.classify, protos.target_of, request, context)

    def Regress(
        self, request: regression_pb2.RegressionRequest, context: grpc.ServicerContext
    ) -> Any:
        """A regression signature, on examples."""
        return self._infer("Regress", protos.regress, protos.target_of, request, context)

    def MultiInference(
        self, request: inference_pb2.MultiInferenceRequest, context: grpc.ServicerContext
    ) -> Any:
        """Several signatures, on the same examples."""
        return self._infer(
            "MultiInference",
            protos.multi_inference,
            protos.multi_inference_target,
            request,
            context,
        )

    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> Any:
        """The signatures of a version."""
        return _answer(context, lambda: protos.metadata(self._inference.manager, request))

    def _infer(
        self, api: str, method: Callable, target_of: Callable, request: Any, context: Any
    ) -> Any:
        start = time.perf_counter()
        name = ""

        def work() -> Any:
            nonlocal name
            with self._admission.admitted():
                target = target_of(request)
                name = target.name
                with self._inference.model(target) as servable:
                    return method(self._inference, servable, request, _deadline(context))

        def count(code: Code) -> None:
            model = name if self._inference.manager.known(name) else UNKNOWN_MODEL
            self._metrics.request_count.add(model, code.name)
            if code is Code.OK:  # As TensorFlow Serving: refusals are quick.
                elapsed = (time.perf_counter() - start) * 1e6
                self._metrics.request_latency.observe(model, api, "GRPC", value=elapsed)

        return _answer(context, work, count)


def _prediction_handler(service: PredictionService) -> grpc.GenericRpcHandler:
    """What the generated code makes of a servicer, but for answers that are serialized already."""
    requests = {
        "Predict": predict_pb2.PredictRequest,
        "Classify": classification_pb2.ClassificationRequest,
        "Regress": regression_pb2.RegressionRequest,
        "MultiInference": inference_pb2.MultiInferenceRequest,
        "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            getattr(service, name),
            request_deserializer=request.FromString,
            response_serializer=_serialized,
        )
        for name, request in requests.items()
    }
    return grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", handlers)


def _serialized(answer: Any) -> bytes:
    return answer if isinstance(answer, bytes) else cast("bytes", answer.SerializeToString())


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """tensorflow.serving.ModelService.

    Args:
      inference: methods whose models are asked about and changed.
      why_no_reload: why HandleReloadConfigRequest is refused; empty where it is not.
    """

    def __init__(self, inference: Inference, why_no_reload: str = ""):
        self._manager = inference.manager
        self._why_no_reload = why_no_reload

    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> Any:
        """The versions of a model, and the states that they are in."""
        return _answer(context, lambda: protos.status(self._manager, protos.target_of(request)))

    def HandleReloadConfigRequest(
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> Any:
        """Replaces the list of models."""

        def work() -> Any:
            if self._why_no_reload:
                raise ServingError(Code.PERMISSION_DENIED, self._why_no_reload)
            self._manager.reload(models_from_proto(request.config))
            return model_management_pb2.ReloadConfigResponse()

        return _answer(context, work)


class GrpcServer:
    """A gRPC server with TensorFlow Serving's services.

    Threads and not an event loop: the methods block in TensorFlow, and handing them from a loop to
    a thread and back would cost each request two more switches.

    Args:
      options: ports, limits, TLS, token.
      inference: the methods.
      admission: bound of requests.
      metrics: metrics in which requests are counted.

    Attributes:
      port: port that it listens on.

    Raises:
      UsageError: the port is taken, or the TLS files cannot be used.
    """

    def __init__(
        self,
        options: ServerOptions,
        inference: Inference,
        admission: Admission,
        metrics: Metrics,
    ):
        threads = options.max_in_flight + _SPARE_THREADS
        self._server = grpc.server(
            futures.ThreadPoolExecutor(threads, thread_name_prefix="grpc"),
            interceptors=_token_checks(options),
            options=[
                ("grpc.max_receive_message_length", options.max_message_bytes),
                ("grpc.max_send_message_length", -1),
                # Otherwise a second server on the port would get half of the requests.
                ("grpc.so_reuseport", 0),
                *options.grpc_arguments,
            ],
            # Beyond the threads gRPC would queue without bound; it answers RESOURCE_EXHAUSTED.
            maximum_concurrent_rpcs=threads + options.max_in_flight,
        )
        service = PredictionService(inference, admission, metrics)
        self._server.add_generic_rpc_handlers((_prediction_handler(service),))
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelService(inference, _why_no_reload(options)), self._server
        )
        if options.profiler:
            add_profiler(self._server)
        self._services = serving_service_names()
        # Watches hold a thread each; non-blocking ones hold none.
        self._health = health.HealthServicer(experimental_non_blocking=True)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            [*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server
        )
        self.port = self._listen(options)

    def set_ready(self, ready: bool) -> None:
        """What the health service says."""
        status = health_pb2.HealthCheckResponse
        for service in ("", *self._services):
            self._health.set(service, status.SERVING if ready else status.NOT_SERVING)

    def start(self) -> None:
        """Begins to answer."""
        self._server.start()

    def stop(self, grace: float) -> threading.Event:
        """Refuses new requests; the event is set when the last was answered or cancelled."""
        self._health.enter_graceful_shutdown()
        return self._server.stop(grace)

    def _listen(self, options: ServerOptions) -> int:
        credentials = _credentials(options)
        if options.socket_path:
            self._listen_on(f"unix:{options.socket_path}", credentials)
        return self._listen_on(f"{url_host(options.host)}:{options.port}", credentials)

    def _listen_on(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        try:
            if credentials:
                port = self._server.add_secure_port(address, credentials)
            else:
                port = self._server.add_insecure_port(address)
        except (RuntimeError, OSError) as error:
            raise UsageError(f"gRPC cannot listen on {address}: {error}") from error
        if port == 0:
            raise UsageError(f"gRPC cannot listen on {address}: is it taken?")
        return int(port)


class _TokenCheck(grpc.ServerInterceptor):
    """Refuses calls without the bearer token; health stays open for probes.

    Args:
      token: bearer token that calls must carry; empty lets them pass.
      reload_token: bearer token that HandleReloadConfigRequest must carry instead.
    """

    def __init__(self, token: str, reload_token: str):
        self._token = token
        self._reload_token = reload_token

        def refuse(request: Any, context: grpc.ServicerContext) -> None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "a bearer token is needed")

        self._refuse = grpc.unary_unary_rpc_method_handler(refuse)

    def intercept_service(
        self, continuation: Callable[..., Any], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        method = handler_call_details.method
        token = self._reload_token if method == _RELOAD_METHOD else self._token
        if method.startswith(f"/{health.SERVICE_NAME}/"):
            return continuation(handler_call_details)
        credentials = dict(handler_call_details.invocation_metadata).get("authorization", "")
        if authorized(str(credentials).encode(), token):
            return continuation(handler_call_details)
        return self._refuse


def _token_checks(options: ServerOptions) -> list[grpc.ServerInterceptor]:
    if not options.token and not options.reload_token:
        return []
    return [_TokenCheck(options.token, options.reload_token or options.token)]


def _why_no_reload(options: ServerOptions) -> str:
    """Why HandleReloadConfigRequest is refused; empty where it is not.

    The method makes the server load any SavedModel of its host, whose graph can read and write
    files, and unload the others: more than whoever may ask for predictions should be able to do.
    """
    if not options.reload_config:
        return "this server was started with --reload-config off"
    if options.token and not options.reload_token:
        return (
            "the token for predictions does not allow this; start the server with "
            "--reload-token-file"
        )
    return ""


def _answer(
    context: grpc.ServicerContext,
    work: Callable[[], Any],
    count: Callable[[Code], None] = lambda code: None,
) -> Any:
    try:
        response = work()
    except ServingError as error:
        failure = error
    except Exception:
        _LOG.exception("a gRPC request failed")
        failure = ServingError(Code.INTERNAL, "the request failed; the server's log says why")
    else:
        count(Code.OK)
        return response
    count(failure.code)
    # gRPC refuses details that are not text it can send.
    details = failure.message.encode("utf-8", "replace").decode()
    context.abort(_STATUS[int(failure.code)], details)


def _deadline(context: grpc.ServicerContext) -> float:
    remaining = context.time_remaining()
    seconds = _DEFAULT_SECONDS if remaining is None else min(remaining, _DEFAULT_SECONDS)
    return time.monotonic() + seconds


def _credentials(options: ServerOptions) -> grpc.ServerCredentials | None:
    tls = options.grpc_tls
    if tls:
        pair = (tls.key.encode(), tls.certificate.encode())
        authority = tls.client_ca.encode() or None
    elif options.tls_cert:
        pair = (Path(options.tls_key).read_bytes(), Path(options.tls_cert).read_bytes())
        authority = Path(options.tls_client_ca).read_bytes() if options.tls_client_ca else None
    else:
        return None
    return grpc.ssl_server_credentials(
        [pair], root_certificates=authority, require_client_auth=bool(authority)
    )
