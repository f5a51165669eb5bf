"""An embedded server that answers TensorFlow Serving's clients as TensorFlow Serving does.

For development, tests and small installations: production serves the same folders with the
`tensorflow/serving` image (see serving/deploy). It serves any SavedModel over gRPC and REST.

    deepfake serve --model-base runs/demo/models/demo

From the wire inwards: `grpc_service` and `rest` (with `json_request` and `json_answer`) turn
requests into arrays; `inference` checks them against the signature; `runner` and `batching`
decide when they run; `manager` decides on which version; `servable` runs them.
"""
