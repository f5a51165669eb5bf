import keras
import numpy as np
import pytest
import tensorflow as tf
from trainer_workbench import MODEL

from components.trainer.config import ModelConfig
from components.trainer.model import build_model
from components.trainer.optimizer import FusedAdam, build_optimizer

SHAPES = ([3, 4], [4], [2, 2, 3])


def _trajectory(optimizer, average: bool = False) -> list[np.ndarray]:
    """Values of three variables after five steps of fixed gradients."""
    rng = np.random.default_rng(0)
    variables = [keras.Variable(rng.normal(size=shape).astype("float32")) for shape in SHAPES]
    optimizer.build(variables)

    @tf.function
    def step(gradients):
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    for _ in range(5):
        step([tf.constant(3 * rng.normal(size=shape), tf.float32) for shape in SHAPES])
    if average:
        optimizer.finalize_variable_values(variables)
    return [variable.numpy() for variable in variables]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight_decay": 0.3},
        {"global_clipnorm": 0.5},
        {"clipnorm": 0.5, "weight_decay": 0.1},
        {"use_ema": True, "ema_momentum": 0.7},
        {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3},
    ],
)
def test_same_steps_as_keras(options):
    average = options.get("use_ema", False)
    expected = _trajectory(keras.optimizers.Adam(0.05, **options), average)
    found = _trajectory(FusedAdam(0.05, **options), average)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def test_follows_a_changed_rate():
    optimizer = FusedAdam(0.1)
    variable = keras.Variable(np.ones(3, np.float32))
    optimizer.build([variable])
    step = tf.function(lambda: optimizer.apply_gradients([(tf.ones(3), variable)]))
    optimizer.learning_rate = 0.0
    step()
    np.testing.assert_array_equal(variable.numpy(), 1.0)
    optimizer.learning_rate = 0.1
    step()
    assert (variable.numpy() < 1.0).all()


def test_decays_kernels_only():
    model = build_model(ModelConfig(**MODEL))
    optimizer = build_optimizer(model, 0.1, weight_decay=0.5)
    before = [variable.numpy() for variable in model.trainable_variables]
    zeros = [tf.zeros(variable.shape) for variable in model.trainable_variables]
    optimizer.apply_gradients(zip(zeros, model.trainable_variables, strict=True))
    for variable, old in zip(model.trainable_variables, before, strict=True):
        factor = 0.95 if len(variable.shape) > 1 else 1.0
        np.testing.assert_allclose(variable.numpy(), factor * old, rtol=1e-5)


def test_one_update_op_a_variable():
    model = build_model(ModelConfig(**MODEL))
    sizes = {}
    for name, optimizer in {
        "fused": build_optimizer(model, 0.1),
        "keras": keras.optimizers.Adam(0.1),
    }.items():
        optimizer.build(model.trainable_variables)

        @tf.function
        def step(optimizer=optimizer):
            gradients = [tf.ones(v.shape) for v in model.trainable_variables]
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

        operations = step.get_concrete_function().graph.get_operations()
        sizes[name] = len(operations)
        if name == "fused":
            updates = [op for op in operations if op.type == "ResourceApplyAdam"]
            assert len(updates) == len(model.trainable_variables)
    assert sizes["fused"] < 0.5 * sizes["keras"]


def test_refuses_amsgrad():
    with pytest.raises(ValueError, match="no amsgrad"):
        FusedAdam(amsgrad=True)
