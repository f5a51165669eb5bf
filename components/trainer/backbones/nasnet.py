"""NASNet, as Keras has it.

Zoph et al., "Learning Transferable Architectures for Scalable Image Recognition", 2018.
Its ImageNet weights want RGB in [-1, 1], which is what Transform makes.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING

from components.trainer.backbones.base import Backbone, register
from preprocessing.support.errors import UsageError, first_line

if TYPE_CHECKING:
    import keras

_BASE_URL = "https://storage.googleapis.com/tensorflow/keras-applications/nasnet/"
_ENDING = re.compile(r"_(?:(stem_\d+|reduce_\d+)|(\d+))$")


class NASNet(Backbone):
    """One of the two sizes.

    Args:
      name: of the backbone.
      application: name of the builder in keras.applications.
      image_size: side of the input in pixels.
      cells: that stand between two reductions.
      file: name and MD5 of the weights without the top, as keras.applications has them.
    """

    def __init__(
        self, name: str, application: str, image_size: int, cells: int, file: tuple[str, str]
    ):
        self.name = name
        self.image_size = image_size
        self.blocks = _blocks(cells)
        self.file, self.md5 = file
        self.checksums = {self.md5: self.file}
        self._application = application

    def build(self, size: int) -> keras.Model:
        """See `Backbone.build`."""
        import keras

        # Weights are loaded apart and not by keras.applications, which would insist on the size
        # that ImageNet was trained at although a network without its top fits any.
        builder = getattr(keras.applications, self._application)
        return builder(input_shape=(size, size, 3), include_top=False, weights=None)

    def block_of(self, layer: str) -> str:
        """See `Backbone.block_of`."""
        # Keras ends the names of a cell's layers with `_0`, `_1`, and so on.
        ending = _ENDING.search(layer)
        return "stem" if not ending else ending[1] or f"cell_{ending[2]}"

    def imagenet(self) -> Path:
        """See `Backbone.imagenet`."""
        import keras

        try:
            path = keras.utils.get_file(
                self.file,
                _BASE_URL + self.file,
                cache_subdir="models",
                file_hash=self.md5,
                hash_algorithm="md5",
            )
        except Exception as error:  # Keras wraps network errors in bare Exceptions.
            raise UsageError(
                f"model.weights: the ImageNet weights of {self.name} cannot be downloaded "
                f"({first_line(error)}); fetch {_BASE_URL}{self.file} (md5 {self.md5}) elsewhere "
                "and set model.weights to the file's path, or to none to train from scratch"
            ) from error
        return Path(path)


def _blocks(cells: int) -> tuple[str, ...]:
    """Three times `cells` cells, numbered as Keras does, and what halves the size before them."""
    stages = (
        ("stem", "stem_1", "stem_2"),
        (f"cell_{number}" for number in range(cells)),
        (f"reduce_{cells}",),
        (f"cell_{number}" for number in range(cells + 1, 2 * cells + 1)),
        (f"reduce_{2 * cells}",),
        (f"cell_{number}" for number in range(2 * cells + 1, 3 * cells + 1)),
    )
    return tuple(itertools.chain.from_iterable(stages))


register(
    NASNet(
        "nasnet_large",
        "NASNetLarge",
        331,
        6,
        ("NASNet-large-no-top.h5", "d81d89dc07e6e56530c4e77faddd61b5"),
    )
)
register(
    NASNet(
        "nasnet_mobile",
        "NASNetMobile",
        224,
        4,
        ("NASNet-mobile-no-top.h5", "1ed92395b5b598bdda52abe5c0dbfd63"),
    )
)
