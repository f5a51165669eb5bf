"""The exported model: one SavedModel with the Transform graph, the network and its calibration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components.trainer.calibration import Calibration
from components.trainer.folding import folded
from components.trainer.image_facts import image_facts
from components.trainer.model import cell_logits, logits_and_map
from components.trainer.nearest_crop_distance import NearestCropDistance
from components.transform.preprocessing import PIXELS
from preprocessing.extraction import face_example as names
from preprocessing.support.errors import UsageError
from serving.model import card
from serving.model.outputs import APPEARANCE
from serving.model.warmup_requests import write_warmup_requests


def _graph(spec: tf.TensorSpec) -> Callable[[Callable[..., Any]], Any]:
    """A `tf.function` of one tensor.

    Without AutoGraph, which would rewrite the source of the libraries that are called: that takes
    longer than all of the tracing, and no control flow depends on a tensor.
    """
    return tf.function(input_signature=[spec], autograph=False)


class Detector(tf.Module):
    """From encoded crops or records to calibrated scores; what `export` writes.

    Args:
      model: from pixels [batch, size, size, 3] to logits [batch, 1]. Its variables become part of
        the module; the Keras object does not, so that optimizer state is not exported.
      transform_output: of the Transform component.
      mirror: True averages the logits of pixels and of their mirror image.

    Attributes:
      offset: float32 scalar variable; added to the network's logits.
      temperature: float32 scalar variable; the sums are divided by it.
      size: side of the network's input in pixels.
      network: float32 [batch, size, size, 3] -> logits [batch], features [batch, features], and
        the class activation map [batch, rows, columns], see `cell_logits`.
      familiarity: what `appearance` holds the distance to; None leaves that output out. Set before
        the signatures are traced.

    Raises:
      UsageError: the Transform graph gives pictures of another size than the model takes.
    """

    def __init__(
        self, model: keras.Model, transform_output: tft.TFTransformOutput, mirror: bool = False
    ):
        super().__init__(name="deepfake_detector")
        self.offset = tf.Variable(0.0, trainable=False, name="offset")
        self.temperature = tf.Variable(1.0, trainable=False, name="temperature")
        self.model_variables = [variable.value for variable in model.variables]
        # A tf_keras layer, which a Keras 3 model cannot hold; a tf.function can. In a lambda it is
        # not tracked: exported with the module, it would bring functions of its own, traced for
        # half a minute. A Transform graph with tables would have to be; saving it would fail.
        transform_layer = transform_output.transform_features_layer()
        self._transform = lambda features: transform_layer(features)
        self._raw_spec = transform_output.raw_feature_spec()
        shape = (None, *model.input_shape[1:])
        transformed = tuple(transform_output.transformed_feature_spec()[PIXELS].shape)
        if transformed != shape[1:]:
            raise UsageError(
                f"Transform gives pictures of {transformed}, and the model takes {shape[1:]}; give "
                "both the same model.image_size"
            )

        with_map = logits_and_map(model)

        # One graph of Transform's and one of the network, shared by all that calls them: reading
        # the one takes seconds, and so does tracing NASNet.
        @_graph(tf.TensorSpec([None], tf.string, names.IMAGE))
        def decoded(encoded: tf.Tensor) -> tf.Tensor:
            shaped = tf.reshape(encoded, [-1, *self._raw_spec[names.IMAGE].shape])
            return self._transform({names.IMAGE: shaped})[PIXELS]

        @_graph(tf.TensorSpec(shape, tf.float32, PIXELS))
        def network(pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            if mirror:
                pixels = tf.concat([pixels, tf.reverse(pixels, [2])], 0)
            logits, last_map = with_map(pixels, training=False)
            outputs = logits[:, 0], tf.reduce_mean(last_map, [1, 2]), cell_logits(model, last_map)
            if not mirror:
                return outputs
            logits, features, cells = (tf.split(output, 2) for output in outputs)
            cells[1] = tf.reverse(cells[1], [2])
            return tuple(tf.reduce_mean(sides, 0) for sides in (logits, features, cells))

        self.size = shape[1]
        # string [batch] -> float32 [batch, size, size, 3]
        self.pixels = decoded
        self.network = network
        self.familiarity: NearestCropDistance | None = None
        self._fold = lambda: Detector(folded(model), transform_output, mirror)

    def calibrate(self, calibration: Calibration) -> None:
        """Sets offset and temperature."""
        self.offset.assign(calibration.offset)
        self.temperature.assign(calibration.temperature)

    def optimised(self) -> Detector:
        """What is served: the same, with batch normalisation folded into the convolutions."""
        served = self._fold()
        served.offset.assign(self.offset)
        served.temperature.assign(self.temperature)
        served.familiarity = self.familiarity
        return served

    @_graph(tf.TensorSpec([None], tf.string, "image"))
    def serving_default(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """JPEG or PNG face crops [batch] -> `score` = P(fake) and `logit`, float32 [batch].

        And `appearance`, float32 [batch, 1 + facts]: the distance to the nearest training crop,
        and the `image_facts`.
        """
        pixels = self.pixels(image)
        raw, features, _ = self.network(pixels)
        logit = self._calibrated(raw)
        outputs = {"score": tf.sigmoid(logit), "logit": logit}
        if self.familiarity is None:
            return outputs
        facts = image_facts(pixels)
        distances = self.familiarity.distances(features, facts)
        return {**outputs, APPEARANCE: tf.concat([distances[:, None], facts], 1)}

    @_graph(tf.TensorSpec([None], tf.string, "examples"))
    def serving_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialized tf.Examples [batch] -> as `serving_default`; only the image is read."""
        spec = {names.IMAGE: self._raw_spec[names.IMAGE]}
        parsed = tf.io.parse_example(examples, spec)
        return self.serving_default(tf.reshape(parsed[names.IMAGE], [-1]))

    @_graph(tf.TensorSpec([None], tf.string, "image"))
    def explain(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Face crops [batch] -> `logit` [batch], and `cells` [batch, rows, columns], float32.

        Cells are the class activation map, from the top left: the logit of each spatial position,
        whose mean is the crop's logit. See `components.trainer.model.cell_logits`.
        """
        raw, _, cells = self.network(self.pixels(image))
        return {"logit": self._calibrated(raw), "cells": self._calibrated(cells)}

    @_graph(tf.TensorSpec([None], tf.string, "examples"))
    def transform_features(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialized tf.Examples [batch] -> all transformed features (`image` and `label`)."""
        return dict(self._transform(tf.io.parse_example(examples, self._raw_spec)))

    def _calibrated(self, logits: tf.Tensor) -> tf.Tensor:
        return (logits + self.offset) / self.temperature


def export(detector: Detector, folder: str, metadata: dict[str, Any]) -> None:
    """Writes the SavedModel, optimised for inference, and the metadata and warm-up requests.

    Args:
      detector: the calibrated module; its signatures need not be traced.
      folder: where `saved_model.pb` will be.
      metadata: keys of `serving.model.card.ModelCard`; version, input size, positive
        class, offset and temperature are filled in here.
    """
    size = detector.size
    model_card = card.ModelCard.from_dict(
        {
            **metadata,
            "version": card.VERSION,
            "input_size": size,
            "positive_class": "fake",
            "offset": float(detector.offset),
            "temperature": float(detector.temperature),
        }
    )
    served = detector.optimised()
    tf.saved_model.save(
        served,
        folder,
        signatures={
            "serving_default": served.serving_default,
            "serving_examples": served.serving_examples,
            "explain": served.explain,
            "transform_features": served.transform_features,
        },
    )
    path = f"{folder}/{card.FILE}"
    tf.io.gfile.makedirs(path.rpartition("/")[0])
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(model_card.to_json())
    write_warmup_requests(folder, size=size)
