"""Adam with one update op per variable."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("deepfake")
class FusedAdam(keras.optimizers.Adam):
    """Adam with decoupled weight decay, traced in a fraction of the time.

    Keras writes each variable's update as about thirty ops; NASNet has hundreds of variables, and
    their tracing is most of the wait before the first step. Here a variable's update is one
    `ResourceApplyAdam`, which computes the same formula, and three ops for its weight decay, as in
    "Decoupled Weight Decay Regularization" (Loshchilov and Hutter, 2019). Clipping and the moving
    average of weights are the base class's.

    Args: those of `keras.optimizers.Adam`, but for `amsgrad`; and

      rate_factors: for each variable what its learning rate is multiplied with; None for 1.

    Raises:
      ValueError: `amsgrad` is asked for.
    """

    def __init__(self, *args: Any, rate_factors: list[float] | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.rate_factors = rate_factors
        if self.amsgrad:
            raise ValueError("FusedAdam has no amsgrad; use keras.optimizers.Adam")

    def _apply_weight_decay(self, variables: Any) -> None:
        """Nothing: `_distributed_tf_update_step` decays each variable just before its update."""

    def _distributed_tf_update_step(
        self, distribution: Any, grads_and_vars: Any, learning_rate: Any
    ) -> None:
        # Once a step here, instead of once a variable.
        count = tf.cast(self.iterations, tf.float32) + 1.0
        rate = tf.cast(learning_rate, tf.float32)
        shared = (rate, tf.pow(self.beta_1, count), tf.pow(self.beta_2, count))
        for gradient, variable in grads_and_vars:
            distribution.extended.update(
                variable, self._update, args=(gradient, *shared), group=False
            )

    def _update(
        self,
        variable: Any,
        gradient: Any,
        rate: tf.Tensor,
        beta_1_power: tf.Tensor,
        beta_2_power: tf.Tensor,
    ) -> None:
        index = self._get_variable_index(variable)
        if self.rate_factors is not None:
            rate = rate * self.rate_factors[index]
        if self.weight_decay is not None and self._use_weight_decay(variable):
            variable.assign(variable * tf.cast(1.0 - rate * self.weight_decay, variable.dtype))
        dtype = variable.dtype
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.cast(beta_1_power, dtype),
            beta2_power=tf.cast(beta_2_power, dtype),
            lr=tf.cast(rate, dtype),
            beta1=tf.constant(self.beta_1, dtype),
            beta2=tf.constant(self.beta_2, dtype),
            epsilon=tf.constant(self.epsilon, dtype),
            grad=tf.cast(tf.convert_to_tensor(gradient), dtype),
        )

    def get_config(self) -> dict[str, Any]:
        """The optimizer's configuration, for `from_config`."""
        return {**super().get_config(), "rate_factors": self.rate_factors}


def build_optimizer(
    model: keras.Model,
    learning_rate: float,
    weight_decay: float = 0.0,
    clip_norm: float = 0.0,
    ema_momentum: float = 0.0,
    rate_factors: list[float] | None = None,
) -> FusedAdam:
    """The optimizer of a model's trainable variables, its own variables made.

    Args:
      model: what it will train; only its kernels are decayed, not biases, scales and offsets.
      learning_rate: of the first step.
      weight_decay: share of a kernel that is taken away per step and unit of rate; 0 is off.
      clip_norm: largest norm of all gradients together; 0 is off.
      ema_momentum: of the moving average of the weights; 0 is off.
      rate_factors: see FusedAdam.

    Returns:
      The optimizer, built.
    """
    optimizer = FusedAdam(
        learning_rate,
        weight_decay=weight_decay or None,
        global_clipnorm=clip_norm or None,
        use_ema=ema_momentum > 0,
        ema_momentum=ema_momentum or 0.99,
        rate_factors=rate_factors,
    )
    variables = model.trainable_variables
    optimizer.exclude_from_weight_decay(var_list=[v for v in variables if len(v.shape) < 2])
    # Before `fit`: slots made while tracing double the time to the first step.
    optimizer.build(variables)
    return optimizer
