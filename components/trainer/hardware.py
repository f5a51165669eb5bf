"""Settings that depend on the machine: distribution over GPUs, precision, XLA."""

from __future__ import annotations

import logging

import keras
import tensorflow as tf

from components.trainer.config import TrainingConfig
from preprocessing.support.errors import UsageError

_LOG = logging.getLogger(__name__)


def build_strategy(devices: list[str] | None = None) -> tf.distribute.Strategy:
    """How training is spread: over all GPUs where there are several, else over one device.

    Args:
      devices: to spread it over, as in ["CPU:0", "CPU:1"]; None takes the GPUs.
    """
    if devices is None:
        devices = [f"GPU:{number}" for number in range(len(_gpus()))]
    if len(devices) < 2:
        return tf.distribute.get_strategy()
    _LOG.info("training on %d devices at once", len(devices))
    return tf.distribute.MirroredStrategy(devices)


def check_batch_size(batch_size: int, replicas: int) -> None:
    """Refuses (UsageError) batches that cannot be divided so that pairs stay together."""
    if replicas > 1 and batch_size % (2 * replicas):
        raise UsageError(
            f"training.batch_size: {batch_size} crops cannot be divided over {replicas} GPUs in "
            f"pairs; make it a multiple of {2 * replicas}"
        )


def dtype_policy(config: TrainingConfig) -> str:
    """Keras' name of the precision of the network's arithmetic; weights are always float32."""
    if config.precision != "auto":
        return config.precision
    return "mixed_float16" if _gpus() else "float32"


def use_xla(config: TrainingConfig) -> bool:
    """Whether XLA compiles the training step."""
    return bool(_gpus()) if config.xla == "auto" else config.xla == "on"


def out_of_memory(batch_size: int, error: tf.errors.ResourceExhaustedError) -> UsageError:
    """What to tell people whose batch does not fit into memory."""
    smaller = max(2, batch_size // 2 - batch_size // 2 % 2)
    first = (error.message or "").strip().split("\n")[0]
    advice = (
        f"try training.batch_size={smaller}"
        if smaller < batch_size
        else "try a smaller model.backbone or model.image_size"
    )
    return UsageError(f"the memory does not hold a batch of {batch_size} crops: {advice} ({first})")


def inner_optimizer(model: keras.Model) -> keras.optimizers.Optimizer:
    """The model's optimizer, without the loss scaling that Keras wraps around it for float16."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def learning_rate(model: keras.Model) -> float:
    """The rate of now, also where it lies on several devices."""
    return float(tf.convert_to_tensor(inner_optimizer(model).learning_rate))


def _gpus() -> list[tf.config.PhysicalDevice]:
    return tf.config.list_physical_devices("GPU")
