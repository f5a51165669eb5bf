"""Builds backbones, and finds the files of their weights."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from components.trainer.backbones.base import (
    Backbone,
    backbone_of,
    backbones,
    first_line,
    md5_of,
)
from preprocessing.support.errors import UsageError

if TYPE_CHECKING:
    import keras

_LOG = logging.getLogger(__name__)


def build_backbone(name: str, size: int, weights: str) -> keras.Model:
    """Builds a network without its top.

    Args:
      name: of a `Backbone`.
      size: side of the square input in pixels.
      weights: `imagenet`, path of a local .h5 file, or `none`.

    Returns:
      See `Backbone.build`.

    Raises:
      UsageError: an unknown name, or weights that cannot be had or do not fit.
    """
    backbone = backbone_of(name)
    path = find_weights(backbone, weights)
    network = backbone.build(size)
    if path is not None:
        try:
            backbone.load(network, path)
        except (OSError, KeyError, ValueError, AttributeError) as error:
            raise UsageError(
                f"model.weights: {path} does not hold weights of {name} without its top, or is "
                f"damaged ({first_line(error)})"
            ) from error
    return network


def check_weights(name: str, weights: str) -> None:
    """Finds out whether `build_backbone` will get its weights, before hours are spent on faces.

    ImageNet's file is fetched if need be; a file whose MD5 is not known is loaded once.

    Raises:
      UsageError: as `build_backbone`.
    """
    backbone = backbone_of(name)
    path = find_weights(backbone, weights)
    if path is not None and md5_of(path) not in backbone.checksums:
        import keras

        # The smallest size that every network here can be built for: weights do not depend on it.
        build_backbone(name, 64, weights)
        keras.backend.clear_session()


def find_weights(backbone: Backbone, weights: str) -> Path | None:
    """The file that `weights` means, fetched if need be; None for random weights.

    Raises:
      UsageError: no such file, none for this backbone, or no network to fetch it.
    """
    name = backbone.name
    if weights == "none":
        _LOG.info("weights of %s: random", name)
        return None
    if weights == "imagenet":
        path = backbone.imagenet()
        _LOG.info("weights of %s: %s, md5 %s (ImageNet)", name, path, md5_of(path))
        return path
    path = Path(weights).expanduser()
    if not path.is_file():
        raise UsageError(
            f"model.weights: {weights} is not a file; give imagenet, none, or the path of an .h5 "
            "file"
        )
    if path.suffix.lower() not in (".h5", ".hdf5"):
        raise UsageError(f"model.weights: {weights} must be an HDF5 file whose name ends in .h5")
    checksum = md5_of(path)
    for other in backbones().values():
        if checksum in other.checksums and other.name != name:
            raise UsageError(
                f"model.weights: {weights} is {other.checksums[checksum]}, which fits "
                f"model.backbone={other.name}, not {name}"
            )
    published = backbone.checksums.get(checksum)
    origin = f"ImageNet, {published}" if published else "not one of the known ImageNet files"
    _LOG.info("weights of %s: %s, md5 %s (%s)", name, path, checksum, origin)
    return path
