import numpy as np
import pytest
import tensorflow as tf
from trainer_workbench import SIZE, encode, face_like

from components.transform.preprocessing import decode_images, preprocessing_fn


@pytest.fixture
def face():
    return face_like(np.random.default_rng(0), fake=False)


def test_gives_exactly_image_and_label_whatever_the_column_shape(face):
    for shape in ([2], [2, 1]):
        inputs = {
            "image/encoded": tf.reshape(tf.constant([encode(face)] * 2), shape),
            "label": tf.reshape(tf.constant([1, 0], tf.int64), shape),
            "clip_id": tf.constant(["a", "b"]),
        }
        outputs = preprocessing_fn(inputs, {"image_size": 32})
        assert set(outputs) == {"image", "label"}
        assert outputs["image"].shape == (2, 32, 32, 3)
        assert outputs["image"].dtype == tf.float32
        assert outputs["label"].dtype == tf.int64
        assert outputs["label"].numpy().tolist() == [1, 0]


def test_scales_to_the_range_that_nasnet_reads(face):
    pixels = decode_images(tf.constant([encode(face, ".png")]), SIZE)
    np.testing.assert_allclose(pixels[0], face / 127.5 - 1.0, atol=1e-6)


def test_decodes_jpeg_as_opencv_does(face):
    import cv2

    data = encode(face)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    pixels = decode_images(tf.constant([data]), SIZE)
    np.testing.assert_allclose(pixels[0], expected / 127.5 - 1.0, atol=1e-6)


def test_grey_pictures_become_rgb(face):
    pixels = decode_images(tf.constant([encode(face[..., 0], ".png")]), SIZE)
    np.testing.assert_allclose(pixels[0, ..., 2], face[..., 0] / 127.5 - 1.0, atol=1e-6)


def test_shrinking_does_not_alias():
    board = (np.indices((128, 128)).sum(axis=0) % 2 * 255).astype(np.uint8)
    stripes = np.repeat((np.arange(128) % 2 * 255).astype(np.uint8)[None], 128, axis=0)
    for pattern in (board, stripes):
        pixels = decode_images(tf.constant([encode(pattern, ".png")]), 48).numpy()
        # Aliasing would turn the finest pattern into a coarse one between -1 and 1.
        assert np.abs(pixels[:, 2:-2, 2:-2]).max() < 0.3


def test_enlarging_stays_within_the_pixels(face):
    pixels = decode_images(tf.constant([encode(face[:20, :20], ".png")]), SIZE).numpy()
    low, high = face[:20, :20].min() / 127.5 - 1, face[:20, :20].max() / 127.5 - 1
    assert pixels.min() >= low - 1e-6
    assert pixels.max() <= high + 1e-6


def test_empty_batch():
    assert decode_images(tf.constant([], tf.string), 16).shape == (0, 16, 16, 3)


def test_same_pixels_eagerly_in_tf_data_and_in_the_transform_graph(face, workbench):
    import tensorflow_transform as tft

    crops = [encode(face), encode(face[:50, :50], ".png"), encode(np.tile(face, (2, 2, 1)))]
    eager = decode_images(tf.constant(crops), SIZE).numpy()

    dataset = tf.data.Dataset.from_tensors(crops).map(lambda batch: decode_images(batch, SIZE))
    np.testing.assert_allclose(next(iter(dataset)), eager, atol=1e-6)

    layer = tft.TFTransformOutput(workbench.transform_graph).transform_features_layer()
    column = tf.constant(crops)[:, tf.newaxis]
    np.testing.assert_allclose(layer({"image/encoded": column})["image"], eager, atol=1e-6)
