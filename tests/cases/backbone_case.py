"""What holds for every backbone.

class TestMine(BackboneCase):
    backbone = "mine"
    features = (8, 8, 96)
"""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.trainer.backbones.base import Backbone, backbone_of
from components.trainer.config import ModelConfig
from components.trainer.folding import folded
from components.trainer.model import (
    LOGIT,
    batch_norms,
    blocks,
    build_model,
    network_of,
    prepare_phase,
)
from preprocessing.support.errors import UsageError


class BackboneCase:
    """The checks of a registered backbone; one network is built for all of them.

    Attributes:
      backbone: its name, as in `model.backbone`.
      size: side of the input, in pixels.
      features: shape of the feature map of an image of that side.
    """

    backbone: str
    size: int = 64
    features: tuple[int, int, int]

    @pytest.fixture(scope="class")
    def model(self) -> keras.Model:
        """The classifier as the Trainer builds it, from random weights."""
        keras.utils.set_random_seed(1)
        settings = {"backbone": self.backbone, "weights": "none", "dropout": 0.0}
        return build_model(ModelConfig(**settings, image_size=self.size))

    @pytest.fixture(scope="class")
    def pixels(self) -> np.ndarray:
        """float32 [4, size, size, 3] in [-1, 1], what Transform makes."""
        rng = np.random.default_rng(0)
        return rng.uniform(-1, 1, (4, self.size, self.size, 3)).astype(np.float32)

    @property
    def registered(self) -> Backbone:
        return backbone_of(self.backbone)

    def test_its_own_image_size_is_the_default(self):
        assert self.registered.image_size >= 32

    def test_images_become_a_feature_map_and_a_logit(self, model, pixels):
        features = network_of(model)(pixels)
        assert tuple(features.shape) == (4, *self.features)
        assert np.isfinite(features).all()
        assert tuple(model(pixels).shape) == (4, 1)

    def test_inference_takes_each_image_by_itself(self, model, pixels):
        together, alone = model(pixels), model(pixels[:1])
        np.testing.assert_allclose(together[:1], alone, atol=1e-4)

    def test_every_weight_is_in_a_block_that_a_configuration_may_name(self, model):
        assert tuple(blocks(model)) == self.registered.blocks

    def test_every_weight_learns(self, model, pixels):
        prepare_phase(model, head_only=False, batch_norm="momentum", momentum=0.9)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(pixels, training=True) - 1.0))
        variables = model.trainable_variables
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        dead = [v.path for v, g in zip(variables, gradients, strict=True) if g is None]
        assert not dead
        assert all(np.isfinite(gradient).all() for gradient in gradients)

    def test_the_last_block_can_be_trained_alone(self, model):
        last = self.registered.blocks[-1]
        prepare_phase(model, False, "freeze", 0.9, unfreeze_from=last)
        trained = {variable.path.split("/")[-2] for variable in model.trainable_variables}
        inside = trained - {LOGIT}
        assert inside
        assert {self.registered.block_of(name) for name in inside} == {last}

    def test_frozen_batch_normalization_keeps_its_statistics(self, model, pixels):
        prepare_phase(model, head_only=False, batch_norm="freeze", momentum=0.9)
        before = [layer.moving_mean.numpy() for layer in batch_norms(model)]
        model(pixels, training=True)
        for layer, mean in zip(batch_norms(model), before, strict=True):
            np.testing.assert_array_equal(layer.moving_mean.numpy(), mean)

    def test_folding_batch_normalization_keeps_the_logits(self, model, pixels):
        """For the statistics of the images, and scales and offsets of their own."""
        # Other tests have frozen layers. Of a momentum of 0 the moving statistics are those of the
        # last batch.
        for layer in network_of(model).layers:
            layer.trainable = True
        prepare_phase(model, head_only=False, batch_norm="momentum", momentum=0.0)
        rng = np.random.default_rng(0)
        for layer in batch_norms(model):
            layer.gamma.assign(rng.uniform(0.8, 1.2, layer.gamma.shape[0]))
            layer.beta.assign(rng.normal(0, 0.1, layer.beta.shape[0]))
        model(pixels, training=True)
        # The rounding of float32 alone moves a logit of NASNetLarge by 1e-4.
        exact = _in_float64(model)
        exact_pixels = pixels.astype(np.float64)
        expected = exact(exact_pixels, training=False)
        assert np.std(expected) > 1e-3
        optimised = folded(exact)
        assert len(optimised.variables) < len(model.variables) or not batch_norms(model)
        np.testing.assert_allclose(optimised(exact_pixels), expected, rtol=1e-9, atol=1e-9)

    def test_what_there_is_of_imagenet_is_known(self):
        """Without weights of its own it says so; with them they have a checksum."""
        if self.registered.has_imagenet():
            assert self.registered.checksums or getattr(self.registered, "md5", "")
        else:
            with pytest.raises(UsageError, match=f"for the backbone {self.backbone}"):
                self.registered.imagenet()


def _in_float64(model: keras.Model) -> keras.Model:
    """A copy that computes in float64."""
    config = json.dumps(keras.saving.serialize_keras_object(model))
    copy = keras.saving.deserialize_keras_object(json.loads(config.replace("float32", "float64")))
    copy.set_weights(model.get_weights())
    return copy
