"""Clients turn crops upright before they send them."""

import io

import numpy as np
import pytest
import tensorflow as tf
from made_media import portrait
from PIL import Image

from serving.clients.base import ClientSettings, Scorer
from serving.clients.upright import upright

PIXELS = portrait()[20:148, 130:226]


class Recorder(Scorer):
    """A scorer that keeps what it would send."""

    def __init__(self):
        super().__init__("model", ClientSettings())
        self.sent = []

    def versions(self):
        return [1]

    def close(self):
        pass

    def _request(self, crops, signature, names, *_):
        self.sent += crops
        return {name: np.zeros(len(crops), np.float32) for name in names}


def encoded(orientation, file_format, turn=None):
    image = Image.fromarray(PIXELS)
    if turn is not None:
        image = image.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    output = io.BytesIO()
    image.save(output, file_format, exif=exif.tobytes(), quality=98, subsampling=0)
    return output.getvalue()


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_a_crop_that_lies_on_its_side_arrives_upright(file_format):
    crop = encoded(6, file_format, Image.Transpose.ROTATE_90)
    # What a model's signature would see of it.
    assert tf.io.decode_image(crop).shape == (96, 128, 3)
    recorder = Recorder()
    recorder.score([crop])
    pixels = tf.io.decode_image(recorder.sent[0]).numpy()
    assert pixels.shape == PIXELS.shape
    assert np.abs(pixels.astype(int) - PIXELS).mean() < 3


@pytest.mark.parametrize(
    "crop",
    [encoded(1, "JPEG"), encoded(1, "PNG"), b"not a picture", b"Exif\0\0 is not enough", b""],
    ids=["upright JPEG", "upright PNG", "text", "a mark", "nothing"],
)
def test_other_crops_arrive_as_they_are(crop):
    assert upright(crop) is crop
