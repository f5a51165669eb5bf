"""The convolutional networks by name, and where their weights come from."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import keras

from preprocessing.support.errors import UsageError

_LOG = logging.getLogger(__name__)

_BASE_URL = "https://storage.googleapis.com/tensorflow/keras-applications/nasnet/"
# File name and MD5 of the ImageNet weights without the top, as keras.applications has them.
IMAGENET_FILES = {
    "nasnet_large": ("NASNet-large-no-top.h5", "d81d89dc07e6e56530c4e77faddd61b5"),
    "nasnet_mobile": ("NASNet-mobile-no-top.h5", "1ed92395b5b598bdda52abe5c0dbfd63"),
}


def build_backbone(name: str, size: int, weights: str) -> keras.Model:
    """Builds a network without its top.

    Args:
      name: `nasnet_large`, `nasnet_mobile` or `tiny`.
      size: side of the square input in pixels.
      weights: `imagenet`, path of a local .h5 file, or `none`.

    Returns:
      A model from [batch, size, size, 3] to a feature map [batch, height, width, channels].

    Raises:
      UsageError: an unknown name, or weights that cannot be had or do not fit.
    """
    builders = {
        "nasnet_large": keras.applications.NASNetLarge,
        "nasnet_mobile": keras.applications.NASNetMobile,
        "tiny": _tiny,
    }
    if name not in builders:
        raise UsageError(
            f"model.backbone: {name!r} is not known; it may be {', '.join(sorted(builders))}"
        )
    path = find_weights(name, weights)
    # Weights are loaded here and not by keras.applications, which would insist on the size that
    # ImageNet was trained at although a network without its top fits any.
    backbone = builders[name](input_shape=(size, size, 3), include_top=False, weights=None)
    if path is not None:
        try:
            backbone.load_weights(path)
        except (OSError, KeyError, ValueError, AttributeError) as error:
            raise UsageError(
                f"model.weights: {path} does not hold weights of {name} without its top, or is "
                f"damaged ({_first_line(error)})"
            ) from error
    return backbone


def check_weights(name: str, weights: str) -> None:
    """Finds out whether `build_backbone` will get its weights, before hours are spent on faces.

    ImageNet's file is fetched if need be; a file whose MD5 is not known is loaded once.

    Raises:
      UsageError: as `build_backbone`.
    """
    path = find_weights(name, weights)
    if path is not None and md5_of(path) not in {md5 for _, md5 in IMAGENET_FILES.values()}:
        # The smallest size that every network here can be built for: weights do not depend on it.
        build_backbone(name, 64, weights)
        keras.backend.clear_session()


def find_weights(name: str, weights: str) -> Path | None:
    """The file that `weights` means, downloaded if need be; None for random weights.

    Raises:
      UsageError: no such file, none for this backbone, or no network to fetch it.
    """
    if weights == "none":
        _LOG.info("weights of %s: random", name)
        return None
    if weights == "imagenet":
        return _download(name)
    path = Path(weights).expanduser()
    if not path.is_file():
        raise UsageError(
            f"model.weights: {weights} is not a file; give imagenet, none, or the path of an .h5 "
            "file"
        )
    if path.suffix.lower() not in (".h5", ".hdf5"):
        raise UsageError(f"model.weights: {weights} must be an HDF5 file whose name ends in .h5")
    known = {md5: f"ImageNet, {file}" for file, md5 in IMAGENET_FILES.values()}
    checksum = md5_of(path)
    for other, (file, md5) in IMAGENET_FILES.items():
        if checksum == md5 and other != name:
            raise UsageError(
                f"model.weights: {weights} is {file}, which fits model.backbone={other}, not {name}"
            )
    _LOG.info(
        "weights of %s: %s, md5 %s (%s)",
        name,
        path,
        checksum,
        known.get(checksum, "not one of the known ImageNet files"),
    )
    return path


def md5_of(path: Path) -> str:
    """MD5 of a file's content, in hex."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _download(name: str) -> Path:
    if name not in IMAGENET_FILES:
        raise UsageError(f"model.weights: there are no ImageNet weights for the backbone {name}")
    file, md5 = IMAGENET_FILES[name]
    try:
        path = keras.utils.get_file(
            file, _BASE_URL + file, cache_subdir="models", file_hash=md5, hash_algorithm="md5"
        )
    except Exception as error:  # Keras wraps network errors in bare Exceptions.
        raise UsageError(
            f"model.weights: the ImageNet weights of {name} cannot be downloaded "
            f"({_first_line(error)}); fetch {_BASE_URL}{file} (md5 {md5}) elsewhere and set "
            "model.weights to the file's path, or to none to train from scratch"
        ) from error
    _LOG.info("weights of %s: %s, md5 %s (ImageNet)", name, path, md5)
    return Path(path)


def _tiny(input_shape: tuple[int, int, int], include_top: bool, weights: None) -> keras.Model:
    """A network for tests: the parts of a real one (strides, batch normalisation), in seconds."""
    del include_top, weights
    inputs = keras.Input(input_shape)
    x = inputs
    for number, filters in enumerate((8, 16, 32)):
        x = keras.layers.Conv2D(
            filters, 3, strides=2, padding="same", use_bias=False, name=f"conv_{number}"
        )(x)
        x = keras.layers.BatchNormalization(name=f"bn_{number}")(x)
        x = keras.layers.ReLU(name=f"relu_{number}")(x)
    return keras.Model(inputs, x, name="tiny")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
