"""Replays a model's warm-up records before the version is announced."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from serving.model.warmup_requests import FILE
from serving.server import protos
from serving.server.inference import Inference
from serving.server.metrics import Metrics
from serving.server.servable import Servable
from serving.server.status_codes import Code, ServingError, from_tensorflow, invalid

if TYPE_CHECKING:
    from tensorflow_serving.apis import prediction_log_pb2

_LOG = logging.getLogger(__name__)

MAX_RECORDS = 1000
# A record that runs longer says that the model cannot be served.
_SECONDS_A_RECORD = 300.0


def replay(inference: Inference, metrics: Metrics, servable: Servable, iterations: int = 1) -> int:
    """Runs the PredictionLog records in `assets.extra/tf_serving_warmup_requests`.

    Args:
      inference: methods that run requests, past admission and queues.
      metrics: metrics in which the time is counted.
      servable: the loaded version.
      iterations: runs of each record.

    Returns:
      How many records were run; 0 without a file, which is no error.

    Raises:
      ServingError: the file is no TFRecord file, a record cannot be parsed or run, or there are
        more than 1000.
    """
    path = Path(servable.path) / FILE
    if not path.is_file():
        return 0
    start = time.perf_counter()
    count = 0
    status = "OK"
    try:
        for record in read_warmup_records(path):
            if count == MAX_RECORDS:
                raise invalid(f"Number of warmup records exceeds the maximum ({MAX_RECORDS})")
            for _ in range(iterations):
                _run(inference, servable, record)
            count += 1
    except ServingError as error:
        status = error.code.name
        raise
    finally:
        elapsed = time.perf_counter() - start
        metrics.warmup_latency.observe(servable.name, status, value=elapsed * 1e6)
    _LOG.info(
        "model %s: version %d warmed up with %d records in %.1f s",
        servable.name,
        servable.version,
        count,
        elapsed,
    )
    return count


def read_warmup_records(path: str | Path) -> Iterator[prediction_log_pb2.PredictionLog]:
    """Yields the PredictionLog messages of a warm-up file.

    Raises:
      ServingError: DATA_LOSS or INVALID_ARGUMENT.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis import prediction_log_pb2

    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            yield prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError:
        raise invalid("a warm-up record is no PredictionLog") from None
    except tf.errors.DataLossError:
        raise ServingError(
            Code.DATA_LOSS, "the warm-up data is damaged or not in TFRecord format"
        ) from None
    except tf.errors.OpError as error:
        raise from_tensorflow(error, hide=str(path)) from error


def _run(
    inference: Inference, servable: Servable, record: prediction_log_pb2.PredictionLog
) -> None:
    deadline = time.monotonic() + _SECONDS_A_RECORD
    kind = record.WhichOneof("log_type")
    method = {
        "predict_log": protos.predict,
        "classify_log": protos.classify,
        "regress_log": protos.regress,
        "multi_inference_log": protos.multi_inference,
    }.get(kind)
    if method is None:
        raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
    method(inference, servable, getattr(record, kind).request, deadline)
