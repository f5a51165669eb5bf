import importlib
import io
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_media import face_frame, portrait

from preprocessing.faces import mtcnn_networks
from preprocessing.faces.detector import FaceDetector, _suppress, _windows, overlap

# Sides of the windows that the networks read.
SIDES = {"pnet": 12, "rnet": 24, "onet": 48}


@pytest.fixture(scope="module")
def detector():
    return FaceDetector(min_face_size=40, min_score=0.8)


@pytest.fixture(scope="module")
def frame():
    return face_frame([(30, 30, 0.9)])


def test_finds_what_mtcnn_finds(detector):
    from mtcnn import MTCNN

    picture = portrait()[:360]
    (expected,) = MTCNN().detect_faces(picture)
    x, y, width, height = expected["box"]
    ((face,),) = detector.detect(picture[None])
    assert overlap(face.box, np.array([[x, y, x + width, y + height]]))[0] > 0.85
    assert face.score > 0.99
    names = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    points = np.array([expected["keypoints"][name] for name in names])
    assert np.abs(face.landmarks - points).max() < 0.06 * height


def network_of_mtcnn(name, threads=0):
    """The network as the package builds it, of Keras layers."""
    import joblib
    import lz4.frame
    import mtcnn

    module = importlib.import_module(f"mtcnn.network.{name}")
    network = getattr(module, {"pnet": "PNet", "rnet": "RNet", "onet": "ONet"}[name])()
    network.build()
    file = Path(mtcnn.__file__).parent / "assets" / "weights" / f"{name}.lz4"
    network.set_weights(joblib.load(io.BytesIO(lz4.frame.decompress(file.read_bytes()))))

    def called(pixels):
        return [output.numpy() for output in network((pixels.astype(np.float32) - 127.5) / 128)]

    return called


@pytest.mark.parametrize("name", SIDES)
def test_networks_are_those_of_mtcnn(name):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (5, SIDES[name], SIDES[name], 3), np.uint8)
    ours, theirs = mtcnn_networks.Network(name)(pixels), network_of_mtcnn(name)(pixels)
    assert len(ours) == len(theirs) == (3 if name == "onet" else 2)
    for output, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(output, expected, atol=1e-5)


def test_boxes_are_those_of_the_networks_of_mtcnn(detector, monkeypatch):
    frames = np.stack([face_frame([(0, 60, 0.8), (160, 60, 0.8)]), face_frame([(30, 30, 0.9)])])
    monkeypatch.setattr(mtcnn_networks, "Network", network_of_mtcnn)
    expected = FaceDetector(min_face_size=40, min_score=0.8).detect(frames)
    assert [len(faces) for faces in expected] == [2, 1]
    for faces, of_mtcnn in zip(detector.detect(frames), expected, strict=True):
        for face, other in zip(faces, of_mtcnn, strict=True):
            # Pixels: the networks sum in another order.
            np.testing.assert_allclose(face.box, other.box, atol=0.02)
            np.testing.assert_allclose(face.landmarks, other.landmarks, atol=0.02)
            assert face.score == pytest.approx(other.score, abs=1e-5)


@pytest.mark.parametrize("size", [(90, 70), (70, 40_000)])
def test_windows_are_those_of_tensorflow(size):
    """Also of pictures that are wider than OpenCV's remapping takes at once."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    frames = np.stack([
        cv2.GaussianBlur(rng.integers(0, 256, (*size, 3), np.uint8), (0, 0), 4) for _ in range(2)
    ])  # fmt: skip
    right = size[1] - 60
    boxes = [[5.5, 3.2, 40.1, 41.0], [-20, -9, 30, 33], [right, 20, right + 80, 70], [9, 5, 9, 5]]
    boxes = np.array(boxes, np.float32)
    index = np.array([0, 1, 1, 0], np.int32)
    relative = boxes[:, [1, 0, 3, 2]] / np.tile(size, 2)
    expected = tf.image.crop_and_resize(frames, relative, index, (24, 24)).numpy()
    windows = _windows(frames, boxes, index, 24).astype(float)
    # Where a place is outside by less than a pixel, OpenCV fades to black.
    inside = cv2.erode((expected.max(-1) > 0).astype(np.uint8).transpose(1, 2, 0), np.ones((5, 5)))
    inside = inside.transpose(2, 0, 1).astype(bool)
    assert inside.sum() > 1000
    assert np.abs(windows - expected)[inside].max() <= 2


@pytest.mark.parametrize("place", [-500, 500])
def test_windows_outside_of_the_frame_are_black(place):
    frames = np.full((1, 40, 60, 3), 200, np.uint8)
    boxes = np.array([[place, place, place + 30, place + 30], [10, place, 40, place + 30]])
    for box in boxes.astype(np.float32):
        assert not _windows(frames, box[None], np.zeros(1, np.int32), 24).any()


def test_memory_does_not_grow_with_the_number_of_sizes():
    code = """
import numpy as np
from pathlib import Path
from preprocessing.faces.detector import FaceDetector

def megabytes():
    (line,) = [li for li in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in li]
    return int(line.split()[1]) / 1024

random = np.random.default_rng(0)
noise = random.integers(0, 256, (700, 900, 3), np.uint8)
detector = FaceDetector(threads=1)
for number in range(60):
    height, width = random.integers(300, 700), random.integers(300, 900)
    detector.detect(np.ascontiguousarray(noise[:height, :width])[None])
    if number == 10:
        before = megabytes()
print(megabytes() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=300, capture_output=True, text=True
    )
    # With a cache for each size it is beyond 100.
    assert float(done.stdout) < 50


def test_tensorflow_is_not_imported():
    """Which would cost each worker of the gateway seconds and memory."""
    code = """
import sys
from preprocessing.faces.crop_settings import CropSettings
from preprocessing.faces.face_cropper import FaceCropper
crops, _ = FaceCropper(CropSettings(frames_per_clip=2)).crops(sys.argv[1])
assert len(crops) == 2, crops
assert not {"tensorflow", "keras", "tf_keras"} & set(sys.modules)
"""
    clip = Path(__file__).parents[2] / "media" / "fake122.mp4"
    subprocess.run([sys.executable, "-c", code, clip], check=True, timeout=300)


def test_each_frame_gets_its_own_faces(detector, frame):
    empty = np.full_like(frame, 120)
    two = face_frame([(0, 60, 0.8), (160, 60, 0.8)])
    faces = detector.detect(np.stack([empty, two, frame]))
    assert [len(found) for found in faces] == [0, 2, 1]
    (alone,) = detector.detect(frame[None])[0]
    np.testing.assert_allclose(faces[2][0].box, alone.box, atol=0.5)


def test_best_face_first(detector):
    (faces,) = detector.detect(face_frame([(0, 60, 0.8), (160, 60, 0.8)])[None])
    assert faces[0].score >= faces[1].score


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (39, 39)])
def test_a_frame_below_the_smallest_face_holds_none(detector, shape):
    assert detector.detect(np.zeros((2, *shape, 3), np.uint8)) == [[], []]


def test_min_face_size_is_honoured(frame):
    ((face,),) = FaceDetector(40).detect(frame[None])
    assert FaceDetector(min_face_size=round(face.size * 3)).detect(frame[None]) == [[]]
    with pytest.raises(ValueError, match="11; MTCNN sees no face below 12"):
        FaceDetector(11)


def test_near_a_hint_the_same_face_is_found(detector, frame):
    ((hint,),) = detector.detect(frame[None])
    side = round(hint.size * 0.25)
    moved = np.roll(frame, (side // 2, side), axis=(0, 1))
    ((face,),) = detector.detect(moved[None])
    ((near,),) = detector.detect_near(moved[None], [hint])
    assert overlap(near.box, face.box[None])[0] > 0.8
    assert np.abs(near.landmarks - face.landmarks).max() < 0.1 * face.size


def test_far_from_a_hint_nothing_is_found(detector):
    ((hint,),) = detector.detect(face_frame([(0, 40, 0.8)])[None])
    other_side = face_frame([(160, 40, 0.8)])
    assert detector.detect_near(other_side[None], [hint]) == [[]]
    assert detector.detect_near(other_side[None], []) == [[]]


def test_overlap():
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 5, 5], [0, 0, 0, 0]])
    box = np.array([0, 0, 10, 10])
    np.testing.assert_allclose(overlap(box, boxes), [1, 1 / 3, 0, 0.25, 0])
    np.testing.assert_allclose(overlap(box, boxes, of_smaller=True), [1, 0.5, 0, 1, 0])


def test_suppression_stays_within_a_frame():
    box = np.array([0.0, 0, 10, 10])
    boxes = np.stack([box, box + 1, box, box + 20])
    scores = np.array([0.8, 0.9, 0.7, 0.6])
    index = np.array([0, 0, 1, 0])
    assert _suppress(boxes, scores, index, 0.5).tolist() == [1, 3, 2]
    assert _suppress(boxes, scores, index, 0.9).tolist() == [1, 0, 3, 2]
    assert _suppress(boxes, scores, index, 0.9, limit=1).tolist() == [1, 2]


def test_a_face_within_a_face_is_the_same_face():
    # A quarter of the union, but all of the smaller one.
    boxes = np.array([[0.0, 0, 20, 20], [5, 5, 15, 15], [15, 0, 35, 20]])
    scores, index = np.array([0.9, 0.8, 0.7]), np.zeros(3, int)
    assert _suppress(boxes, scores, index, 0.7).tolist() == [0, 1, 2]
    assert _suppress(boxes, scores, index, 0.7, of_smaller=True).tolist() == [0, 2]
    # Which one is the better one does not matter.
    assert _suppress(boxes, scores[[1, 0, 2]], index, 0.7, of_smaller=True).tolist() == [1, 2]
