"""Model servers that do with each request what a test planned."""

import http.server
import json
import socket
import threading
from concurrent import futures

import grpc
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

CROPS = [b"123", b"123456", b"123456789"]
FAST = {"first_wait": 0.01, "longest_wait": 0.02}


class Plan:
    """What a server does with each request.

    Args:
      *steps: for requests for scores: a status to answer; "hang", to score when `over` is set or
        after a minute; "drop", to close the connection (REST); or None, to score.
      looks: for questions which versions are served.
      version: version that is served.

    Attributes:
      batches: the crops of each request.
      seconds: what each request had left, over gRPC.
      asked: questions which versions are served.
      over: set when requests that hang may end.
    """

    def __init__(self, *steps, looks=(), version=1):
        self.steps = list(steps)
        self.batches = []
        self.over = threading.Event()
        self.seconds = []
        self.looks = list(looks)
        self.asked = 0
        self.version = version

    def next(self, crops):
        self.batches.append(crops)
        return self.steps.pop(0) if self.steps else None

    def next_look(self):
        self.asked += 1
        return self.looks.pop(0) if self.looks else None


class GrpcFake(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    def __init__(self, plan):
        self.plan = plan

    def Predict(self, request, context):
        crops = list(request.inputs["image"].string_val)
        self.plan.seconds.append(context.time_remaining())
        step = self.plan.next(crops)
        if step == "hang":
            self.plan.over.wait(60)
        elif step:
            context.abort(getattr(grpc.StatusCode, step), "planned")
        response = predict_pb2.PredictResponse()
        for name in ("score", "logit"):
            response.outputs[name].float_val.extend(len(crop) for crop in crops)
        cells = response.outputs["cells"]
        cells.float_val.extend(len(crop) for crop in crops)
        for size in (len(crops), 1, 1):
            cells.tensor_shape.dim.add(size=size)
        return response

    def GetModelStatus(self, request, context):
        if step := self.plan.next_look():
            context.abort(getattr(grpc.StatusCode, step), "planned")
        response = get_model_status_pb2.GetModelStatusResponse()
        available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        response.model_version_status.add(version=self.plan.version, state=available)
        return response


def start_grpc(plan):
    """Starts a gRPC server with a plan; gives it and its port."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    servicer = GrpcFake(plan)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(servicer, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


HTTP = {"UNAVAILABLE": 503, "RESOURCE_EXHAUSTED": 429, "INVALID_ARGUMENT": 400}


def rest_handler(plan):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            crops = document["inputs"]["image"]
            step = plan.next(crops)
            if step == "hang":
                plan.over.wait(60)
            if step == "drop":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            values = [len(crop["b64"]) / 4 * 3 for crop in crops]
            self.answer(step, {"outputs": {"score": values, "logit": values}})

        def do_GET(self):
            version = {"version": str(plan.version), "state": "AVAILABLE"}
            self.answer(plan.next_look(), {"model_version_status": [version]})

        def answer(self, step, answer):
            if step in HTTP:
                answer = {"error": "planned"}
            data = json.dumps(answer).encode()
            self.send_response(HTTP.get(step, 200))
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    return Handler
