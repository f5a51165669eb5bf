"""The interface of backbones and their registry: one class a file, registered by its name.

A new backbone needs one file in this folder, with a subclass of `Backbone`, and a preset that
names it. Nothing here imports Keras before a network is built, so that a configuration can be
checked at once.
"""

from __future__ import annotations

import abc
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from preprocessing.support.errors import UsageError
from preprocessing.support.registration import import_modules

if TYPE_CHECKING:
    import keras

_registry: dict[str, Backbone] = {}


class Backbone(abc.ABC):
    """A convolutional network without its top.

    Every backbone reads what Transform makes, float32 RGB in [-1, 1], and holds what its weights
    expect besides (another range, another mean) as layers of its own, so that training, batch
    prediction and serving cannot differ.

    Attributes:
      name: in the configuration, `model.backbone`.
      image_size: side in pixels of the square input that it was made for.
      blocks: names for `training.unfreeze_from` and `training.layer_decay`, the block nearest to
        the input first.
      checksums: MD5 of published weights, to what they are.
    """

    name: str
    image_size: int
    blocks: tuple[str, ...]
    checksums: dict[str, str] = {}

    @abc.abstractmethod
    def build(self, size: int) -> keras.Model:
        """The network with random weights.

        Args:
          size: side of the input in pixels; at least 32.

        Returns:
          A model from [batch, size, size, 3] in [-1, 1] to a feature map [batch, height, width,
          channels].
        """

    @abc.abstractmethod
    def block_of(self, layer: str) -> str:
        """The name of the block, one of `blocks`, that holds the layer of this name."""

    def imagenet(self) -> Path:
        """The file of ImageNet weights, fetched if need be.

        Raises:
          UsageError: there are none, or they cannot be had here; the message says how to get them.
        """
        raise UsageError(
            f"model.weights: there are no ImageNet weights for the backbone {self.name}"
        )

    def has_imagenet(self) -> bool:
        """Whether `imagenet` can ever give a file."""
        return type(self).imagenet is not Backbone.imagenet

    def load(self, network: keras.Model, path: Path) -> None:
        """Loads weights of a file into what `build` made.

        Raises:
          OSError, KeyError, ValueError, AttributeError: the file is damaged, or of another network.
        """
        network.load_weights(path)


def register(backbone: Backbone) -> Backbone:
    """Makes a backbone known by its name.

    Raises:
      ValueError: another backbone has that name.
    """
    registered = _registry.setdefault(backbone.name, backbone)
    if type(registered) is not type(backbone):
        raise ValueError(f"two backbones have the name {backbone.name!r}")
    return backbone


def backbones() -> dict[str, Backbone]:
    """All backbones by name; those of this folder, and what else was registered."""
    import_modules("components.trainer.backbones")
    return dict(sorted(_registry.items()))


def backbone_of(name: str) -> Backbone:
    """The backbone of that name.

    Raises:
      UsageError: there is none.
    """
    choices = backbones()
    if name not in choices:
        raise UsageError(f"model.backbone: {name!r} is not known; it may be {', '.join(choices)}")
    return choices[name]


def md5_of(path: Path) -> str:
    """MD5 of a file's content, in hex."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
