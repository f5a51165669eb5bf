"""Warm-up requests inside the exported model, which servers replay before they announce it.

The first requests of a batch size pay for TensorFlow's lazy set-up; so does a rolling update,
unless the new model was run before. TensorFlow Serving reads the file by its own accord.
"""

from __future__ import annotations

import numpy as np

FILE = "assets.extra/tf_serving_warmup_requests"

# Powers of two up to what the clients send at once; `allowed_batch_sizes` in
# serving/deploy/batching.config are the same, so that each size that runs was run.
BATCH_SIZES = (1, 2, 4, 8, 16)


def write_warmup_requests(
    model_dir: str,
    crops: list[bytes] | None = None,
    batch_sizes: tuple[int, ...] = BATCH_SIZES,
    size: int = 224,
    signature: str = "serving_default",
    input_name: str = "image",
) -> None:
    """Writes `assets.extra/tf_serving_warmup_requests` into an exported model.

    Args:
      model_dir: folder of `saved_model.pb`; any file system that TensorFlow knows.
      crops: encoded crops that the requests hold, in turn; None makes one of noise. Which pixels
        they are does not matter to warming up.
      batch_sizes: crops of each request.
      size: side in pixels of the crop that is made.
      signature: name of the requests' signature.
      input_name: name of the signature's string input.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    crops = crops or [_noise(size)]
    path = f"{model_dir}/{FILE}"
    tf.io.gfile.makedirs(path.rpartition("/")[0])
    with tf.io.TFRecordWriter(path) as writer:
        for batch_size in batch_sizes:
            batch = [crops[index % len(crops)] for index in range(batch_size)]
            # No model name: servers fill in their own.
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = signature
            request.inputs[input_name].CopyFrom(
                tf.make_tensor_proto(batch, tf.string, [batch_size])
            )
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())


def _noise(size: int) -> bytes:
    import cv2

    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    # JPEG of pure noise is several times the size of a face's; blurred it is like one.
    done, encoded = cv2.imencode(".jpg", cv2.GaussianBlur(pixels, (0, 0), 2))
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG")
    jpeg: bytes = encoded.tobytes()
    return jpeg
