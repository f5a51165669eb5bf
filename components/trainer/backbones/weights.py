"""Builds backbones, and finds the files of their weights."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from components.trainer.backbones.base import (
    Backbone,
    backbone_of,
    backbones,
    md5_of,
)
from preprocessing.support.errors import UsageError, first_line
from serving.model import starter

if TYPE_CHECKING:
    import keras

_LOG = logging.getLogger(__name__)

_HDF5 = (".h5", ".hdf5")


def build_backbone(name: str, size: int, weights: str) -> keras.Model:
    """Builds a network without its top.

    Args:
      name: of a `Backbone`.
      size: side of the square input in pixels.
      weights: `imagenet`, path of a local .h5 file or of an exported model, `starter` or `none`.

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
            if path.is_dir():
                _load_exported(network, path)
            else:
                backbone.load(network, path)
        except UsageError as error:
            raise UsageError(f"model.weights: {error}") from error
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
    if path is not None and (path.is_dir() or md5_of(path) not in backbone.checksums):
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
    if folder := exported_model(weights):
        return _with_backbone(folder, name)
    path = Path(weights).expanduser()
    if not path.is_file():
        raise _not_there(weights)
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


def names_model(weights: str) -> bool:
    """Whether `weights` means an exported model, by its name alone."""
    return weights not in ("imagenet", "none") and not weights.lower().endswith(_HDF5)


def exported_model(weights: str) -> Path | None:
    """The SavedModel that `weights` means; None where it means other weights.

    Raises:
      UsageError: there is none.
    """
    from serving.model import card

    if not names_model(weights):
        return None
    if weights == "starter":
        return card.find_saved_model(starter.starter_path("model.weights"))
    path = Path(weights).expanduser()
    if path.is_file():
        raise UsageError(f"model.weights: {weights} must be an HDF5 file whose name ends in .h5")
    if not path.is_dir():
        raise _not_there(weights)
    return card.find_saved_model(path)


def _not_there(weights: str) -> UsageError:
    return UsageError(
        f"model.weights: {weights} is not there; give imagenet, starter, none, or the path of an "
        ".h5 file or of an exported model's folder"
    )


def weights_digest(weights: str) -> str:
    """What tells the content of a file or model from another's at the same path.

    Empty for what has a checksum of its own or no content, and for what is not on this machine.
    """
    if weights in ("none", "imagenet"):
        return ""
    try:
        path = exported_model(weights) or Path(weights).expanduser()
    except UsageError:
        return ""
    if path.is_file():
        return md5_of(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return hashlib.sha256("".join(map(md5_of, files)).encode()).hexdigest() if files else ""


def _with_backbone(folder: Path, backbone: str) -> Path:
    """The SavedModel in a folder, if it has this backbone."""
    from serving.model import card

    has = card.read(folder).backbone
    if has != backbone:
        raise UsageError(
            f"model.weights: the model in {folder} has the backbone {has}, not {backbone}; set "
            f"model.backbone={has}"
        )
    _LOG.info("weights of %s: of the model in %s", backbone, folder)
    return folder


def _load_exported(network: keras.Model, folder: Path) -> None:
    from components.trainer.folding import load_folded
    from serving.model.saved_model import load_saved_model

    variables = load_saved_model(folder).model_variables
    # Those of the head come after the backbone's.
    load_folded(network, [variable.numpy() for variable in variables])
