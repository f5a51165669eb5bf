"""A network for tests: the parts of a real one, trained in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.trainer.backbones.base import Backbone, register

if TYPE_CHECKING:
    import keras

_FILTERS = (8, 16, 32)


class Tiny(Backbone):
    """Three convolutions, each halving the size, with batch normalisation."""

    name = "tiny"
    image_size = 64
    blocks = tuple(f"cell_{number}" for number in range(len(_FILTERS)))

    def build(self, size: int) -> keras.Model:
        """See `Backbone.build`."""
        import keras

        inputs = keras.Input((size, size, 3))
        x = inputs
        for number, filters in enumerate(_FILTERS):
            x = keras.layers.Conv2D(
                filters, 3, strides=2, padding="same", use_bias=False, name=f"conv_{number}"
            )(x)
            x = keras.layers.BatchNormalization(name=f"bn_{number}")(x)
            x = keras.layers.ReLU(name=f"relu_{number}")(x)
        return keras.Model(inputs, x, name=self.name)

    def block_of(self, layer: str) -> str:
        """See `Backbone.block_of`."""
        return f"cell_{layer.rpartition('_')[2]}"


register(Tiny())
