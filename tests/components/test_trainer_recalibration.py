"""Recalibration changes the statistics of batch normalisation, and nothing else."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from trainer_workbench import MODEL, SIZE

from components.trainer.config import ModelConfig
from components.trainer.model import batch_norms, build_model, prepare_phase
from components.trainer.optimizer import build_optimizer
from components.trainer.recalibration import Recalibration


def batches() -> tf.data.Dataset:
    rng = np.random.default_rng(0)
    pixels = rng.uniform(-1, 1, (24, SIZE, SIZE, 3)).astype(np.float32)
    labels = np.tile([0.0, 1.0], 12).astype(np.float32)[:, None]
    return tf.data.Dataset.from_tensor_slices((pixels, labels)).batch(8).repeat()


@pytest.fixture(scope="module")
def fitted() -> keras.Model:
    """A model after three steps, so that moments, averages and step count are not zero."""
    keras.utils.set_random_seed(0)
    model = build_model(ModelConfig(**MODEL))
    prepare_phase(model, False, "momentum", 0.9, "")
    optimizer = build_optimizer(model, 1e-2, weight_decay=0.1, clip_norm=1.0, ema_momentum=0.9)
    model.compile(optimizer, keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=False)
    model.fit(batches(), epochs=1, steps_per_epoch=3, verbose=0)
    return model


def values(variables) -> list[bytes]:
    return [variable.numpy().tobytes() for variable in variables]


def test_the_optimizer_is_bit_for_bit_what_it_was(fitted):
    before = values(fitted.optimizer.variables)
    weights = values(fitted.trainable_variables)
    rate = float(fitted.optimizer.learning_rate)
    statistics = values(layer.moving_variance for layer in batch_norms(fitted))
    assert int(fitted.optimizer.iterations) == 3
    Recalibration(fitted, iter(batches()), 5)()
    assert values(fitted.optimizer.variables) == before
    assert int(fitted.optimizer.iterations) == 3
    assert float(fitted.optimizer.learning_rate) == rate == pytest.approx(1e-2)
    assert values(fitted.trainable_variables) == weights
    assert values(layer.moving_variance for layer in batch_norms(fitted)) != statistics


def test_statistics_are_the_mean_of_those_of_the_batches(fitted):
    def statistics(skipped, steps):
        Recalibration(fitted, iter(batches().skip(skipped)), steps)()
        layers = batch_norms(fitted)
        return [
            np.stack([layer.moving_mean.numpy(), layer.moving_variance.numpy()]) for layer in layers
        ]

    alone = [statistics(number, 1) for number in range(3)]
    for layer, together in enumerate(statistics(0, 3)):
        mean = np.mean([values[layer] for values in alone], axis=0)
        np.testing.assert_allclose(together, mean, rtol=1e-3, atol=1e-5)
    assert np.abs(alone[0][0] - alone[1][0]).max() > 1e-4, "the batches differ"


def test_the_state_is_put_back_when_the_batches_end_early(fitted):
    before = values(fitted.optimizer.variables)
    with pytest.raises((StopIteration, tf.errors.OutOfRangeError)):
        Recalibration(fitted, iter(batches().take(1)), 3)()
    assert values(fitted.optimizer.variables) == before
