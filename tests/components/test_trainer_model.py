import shutil

import cv2
import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format
from trainer_workbench import MODEL, SIZE, face_like, load_network

from components.trainer.backbones.base import backbone_of, md5_of
from components.trainer.backbones.weights import (
    build_backbone,
    check_weights,
    weights_digest,
)
from components.trainer.config import ModelConfig
from components.trainer.model import (
    HighPass,
    batch_norms,
    build_model,
    cell_logits,
    logits_and_map,
    network_of,
    prepare_phase,
)
from preprocessing.support.errors import UsageError


def test_model_maps_pixels_to_one_logit():
    model = build_model(ModelConfig(**MODEL))
    assert model.input_shape == (None, SIZE, SIZE, 3)
    assert model(np.zeros((2, SIZE, SIZE, 3), np.float32)).shape == (2, 1)


@pytest.mark.parametrize("head", ["pool", "flatten"])
def test_the_logit_is_the_mean_of_the_logits_of_places(head):
    model = build_model(ModelConfig(**MODEL, head=head))
    model.get_layer("logit").bias.assign([0.7])
    pixels = np.random.default_rng(0).uniform(-1, 1, (3, SIZE, SIZE, 3)).astype(np.float32)
    logits, last_map = logits_and_map(model)(pixels, training=False)
    cells = np.asarray(cell_logits(model, last_map))
    assert cells.shape == (3, *last_map.shape[1:3])
    assert cells.shape[1] > 1
    assert cells.std() > 1e-4
    np.testing.assert_allclose(cells.mean((1, 2)), np.asarray(logits)[:, 0], atol=1e-5)
    np.testing.assert_allclose(logits, model(pixels), atol=1e-6)


def test_a_place_is_told_by_the_features_there():
    """Features of one place changed, and nothing else but its logit changes."""
    model = build_model(ModelConfig(**MODEL))
    features = np.random.default_rng(0).normal(size=(1, 4, 5, 32)).astype(np.float32)
    features = features[..., : model.get_layer("logit").kernel.shape[0]]
    changed = features.copy()
    changed[0, 1, 3] += 1.0
    difference = np.asarray(cell_logits(model, changed)) - np.asarray(cell_logits(model, features))
    assert np.flatnonzero(np.abs(difference) > 1e-6).tolist() == [1 * 5 + 3]


def test_image_size_can_be_chosen():
    assert build_model(ModelConfig(**MODEL, image_size=48)).input_shape == (None, 48, 48, 3)


def test_high_pass_is_what_the_blur_takes_away():
    face = face_like(np.random.default_rng(0), fake=False).astype(np.float32)
    blurred = cv2.GaussianBlur(face, (13, 13), 2, borderType=cv2.BORDER_REFLECT_101)
    found = HighPass()(face[None] / 127.5 - 1)[0]
    np.testing.assert_allclose(found, (face - blurred) / 10, atol=1e-4)


def test_residual_input_ignores_a_constant_and_rgb_does_not():
    pixels = np.random.default_rng(0).uniform(-0.5, 0.5, (1, SIZE, SIZE, 3)).astype(np.float32)
    for kind, differs in (("residual", False), ("rgb", True)):
        keras.utils.set_random_seed(1)
        model = build_model(ModelConfig(**{**MODEL, "input": kind}))
        change = np.abs(model(pixels + 0.3) - model(pixels)).max()
        assert (change > 1e-3) == differs


def test_head_phase_trains_the_head_alone():
    model = build_model(ModelConfig(**MODEL))
    prepare_phase(model, head_only=True, batch_norm="momentum", momentum=0.9)
    assert len(model.trainable_variables) == 2


def test_frozen_batch_norm_stays_in_inference_mode():
    model = build_model(ModelConfig(**MODEL))
    prepare_phase(model, head_only=True, batch_norm="freeze", momentum=0.9)
    prepare_phase(model, head_only=False, batch_norm="freeze", momentum=0.9)
    before = [layer.moving_mean.numpy() for layer in batch_norms(model)]
    pixels = np.random.default_rng(0).uniform(-1, 1, (4, SIZE, SIZE, 3)).astype(np.float32)
    np.testing.assert_allclose(model(pixels, training=True), model(pixels), atol=1e-6)
    for layer, mean in zip(batch_norms(model), before, strict=True):
        np.testing.assert_array_equal(layer.moving_mean.numpy(), mean)
    assert len(model.trainable_variables) == 5  # three kernels, the head's kernel and bias


def test_momentum_reaches_every_batch_norm():
    model = build_model(ModelConfig(**MODEL))
    prepare_phase(model, head_only=False, batch_norm="momentum", momentum=0.8)
    assert [layer.momentum for layer in batch_norms(model)] == [0.8] * 3
    layer = batch_norms(model)[0]
    pixels = np.random.default_rng(0).uniform(-1, 1, (4, SIZE, SIZE, 3)).astype(np.float32)
    model(pixels, training=True)
    assert np.abs(layer.moving_mean.numpy()).max() > 0


def test_unknown_backbone():
    with pytest.raises(UsageError, match="'resnet' is not known; it may be efficientnet_lite0"):
        build_backbone("resnet", 64, "none")


def _save_legacy(model: keras.Model, path) -> str:
    """In the format of the published files, which `model.save_weights` no longer writes."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return str(path)


def _other_network() -> keras.Model:
    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(5, 3)])


def test_local_weights_are_loaded(tmp_path):
    source = build_backbone("tiny", SIZE, "none")
    legacy = _save_legacy(source, tmp_path / "tiny.h5")
    source.save_weights(tmp_path / "tiny.weights.h5")
    for path in (legacy, str(tmp_path / "tiny.weights.h5")):
        model = build_model(ModelConfig(**{**MODEL, "weights": path}))
        loaded = network_of(model).get_weights()
        for mine, theirs in zip(loaded, source.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_local_weights_of_another_architecture(tmp_path):
    path = _save_legacy(_other_network(), tmp_path / "other.h5")
    with pytest.raises(UsageError, match=r"other\.h5 does not hold weights of tiny"):
        build_backbone("tiny", SIZE, path)
    _other_network().save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(UsageError, match=r"other\.weights\.h5 does not hold weights of tiny"):
        build_backbone("tiny", SIZE, str(tmp_path / "other.weights.h5"))


def test_truncated_weights(tmp_path):
    path = tmp_path / "tiny.h5"
    _save_legacy(build_backbone("tiny", SIZE, "none"), path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UsageError, match="damaged"):
        build_backbone("tiny", SIZE, str(path))


def test_weights_that_are_no_file_or_not_hdf5(tmp_path):
    with pytest.raises(UsageError, match="is not there"):
        build_backbone("tiny", SIZE, str(tmp_path / "absent.h5"))
    (tmp_path / "weights.npz").touch()
    with pytest.raises(UsageError, match=r"ends in \.h5"):
        build_backbone("tiny", SIZE, str(tmp_path / "weights.npz"))


def test_published_weights_of_the_other_nasnet_are_named(tmp_path, monkeypatch):
    path = tmp_path / "some.h5"
    path.write_bytes(b"large")
    checksums = {md5_of(path): "NASNet-large-no-top.h5"}
    monkeypatch.setattr(backbone_of("nasnet_large"), "checksums", checksums)
    with pytest.raises(UsageError, match=r"fits model.backbone=nasnet_large, not nasnet_mobile"):
        build_backbone("nasnet_mobile", 224, str(path))


def test_imagenet_without_a_network_says_which_file_to_bring(monkeypatch):
    def fail(*args, **kwargs):
        raise Exception("URL fetch failure on https://…: None -- Name or service not known")

    monkeypatch.setattr(keras.utils, "get_file", fail)
    with pytest.raises(UsageError, match=r"NASNet-large-no-top\.h5 \(md5 d81d89dc07e6e5") as error:
        build_backbone("nasnet_large", 331, "imagenet")
    assert "Name or service not known" in str(error.value)


def test_weights_are_tried_before_anything_else_is_done(tmp_path):
    good = tmp_path / "good.weights.h5"
    build_backbone("tiny", SIZE, "none").save_weights(good)
    check_weights("tiny", str(good))
    check_weights("tiny", "none")
    truncated = tmp_path / "truncated.weights.h5"
    truncated.write_bytes(good.read_bytes()[:-100])
    with pytest.raises(UsageError, match=r"truncated\.weights\.h5 does not hold weights of tiny"):
        check_weights("tiny", str(truncated))


def test_no_imagenet_weights_for_tiny():
    with pytest.raises(UsageError, match="no ImageNet weights for the backbone tiny"):
        build_backbone("tiny", SIZE, "imagenet")


def test_weights_of_a_model_of_this_pipeline(trained, tmp_path):
    """Its backbone's; the head is new."""
    check_weights("tiny", str(trained))
    network = build_backbone("tiny", SIZE, str(trained))
    expected = network_of(load_network(trained.parent / "logs", ModelConfig(**MODEL)))
    pixels = np.random.default_rng(0).uniform(-1, 1, (2, SIZE, SIZE, 3)).astype(np.float32)
    np.testing.assert_allclose(network(pixels), expected(pixels), rtol=1e-4, atol=1e-4)
    with pytest.raises(UsageError, match="has the backbone tiny, not nasnet_mobile; set model"):
        check_weights("nasnet_mobile", str(trained))
    with pytest.raises(UsageError, match="holds no exported model"):
        check_weights("tiny", str(tmp_path))
    damaged = tmp_path / "damaged"
    shutil.copytree(trained, damaged)
    next(damaged.glob("variables/*.data-*")).write_bytes(b"")
    with pytest.raises(UsageError, match=r"^model\.weights: the model in .* cannot be loaded"):
        check_weights("tiny", str(damaged))


def test_the_starter_is_a_model_to_start_from():
    check_weights("efficientnet_lite0", "starter")
    with pytest.raises(UsageError, match=r"set model\.backbone=efficientnet_lite0"):
        check_weights("tiny", "starter")


def test_other_weights_at_the_same_path_have_another_digest(trained, tmp_path):
    file, folder = tmp_path / "a.h5", tmp_path / "model"
    assert weights_digest(str(file)) == ""
    shutil.copytree(trained, folder)
    variables = next(folder.glob("variables/*.data-*"))
    for path, changed in ((file, file), (folder, variables)):
        digests = set()
        for content in (b"a", b"b", b"b"):
            changed.write_bytes(content)
            digests.add(weights_digest(str(path)))
        assert len(digests) == 2
        assert "" not in digests
    # Of versions, the one that is trained from counts: the highest.
    versions = tmp_path / "versions"
    for version in ("1", "2"):
        shutil.copytree(trained, versions / version)
    before = weights_digest(str(versions))
    (versions / "1" / "saved_model.pb").write_bytes(b"another")
    assert weights_digest(str(versions)) == before
    (versions / "2" / "saved_model.pb").write_bytes(b"another")
    assert weights_digest(str(versions)) != before
    assert weights_digest("starter") != weights_digest("none") == weights_digest("imagenet") == ""
