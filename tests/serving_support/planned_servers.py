"""Model servers that do with each request what a test planned."""

import http.server
import json
import socket
import threading

import grpc
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

CROPS = [b"123", b"123456", b"123456789"]
FAST = {"first_wait": 0.01, "longest_wait": 0.02}


class Plan:
    """What a server does with each request.

    Args:
      *steps: a status to answer; "hang", to score when `over` is set or after a minute; "drop", to
        close the connection (REST); or None, to score.
    """

    def __init__(self, *steps):
        self.steps = list(steps)
        self.batches = []
        self.over = threading.Event()

    def next(self, crops):
        self.batches.append(crops)
        return self.steps.pop(0) if self.steps else None


class GrpcFake(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, plan):
        self.plan = plan

    def Predict(self, request, context):
        crops = list(request.inputs["image"].string_val)
        step = self.plan.next(crops)
        if step == "hang":
            self.plan.over.wait(60)
        elif step:
            context.abort(getattr(grpc.StatusCode, step), "planned")
        response = predict_pb2.PredictResponse()
        for name in ("score", "logit"):
            response.outputs[name].float_val.extend(len(crop) for crop in crops)
        return response


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
            answer = {"outputs": {"score": values, "logit": values}}
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
