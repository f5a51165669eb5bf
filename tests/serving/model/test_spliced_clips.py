"""Real clips with some forged frames: the segments, from file to answer."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_media import write_video

from preprocessing.datasets.demo import FPS, make_demo_data
from preprocessing.datasets.demo_config import DemoConfig
from preprocessing.faces.crop_settings import CropSettings
from serving.model.outputs import CropOutputs
from serving.model.predictor import FilePredictor
from serving.model.rates import Rates
from serving.model.verdict import Wording
from serving.model.windows import WindowClips, window_clips

pytestmark = pytest.mark.integration

# Most of the demo's fakes are blurrier in the face than real clips.
_SPLICED = ("id2", "id5", "id7")
_FORGED = 0.4


class Blur(FilePredictor):
    """A detector that was not trained: its logit is the lack of detail in the middle of a crop."""

    def __init__(self, windows: WindowClips | None = None):
        wording = Wording(windows=windows, rates=Rates(false_positive_rate=0.1))
        settings = CropSettings(frames_per_clip=16)
        super().__init__("blur", settings, wording, {"name": "blur", "version": 1}, False)

    def outputs(self, jpegs: Sequence[bytes]) -> CropOutputs:
        return CropOutputs(np.array([_blur(jpeg) for jpeg in jpegs], np.float32))


def _blur(jpeg: bytes) -> float:
    grey = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    middle = cv2.resize(grey, (96, 96), interpolation=cv2.INTER_AREA)[16:80, 16:80]
    detail = cv2.Laplacian(middle.astype(np.float64), cv2.CV_64F).std()
    return 30.0 * (3.02 - float(np.log(detail)))


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    make_demo_data(folder, DemoConfig(train_identities=1, val_identities=3, test_identities=4))
    return folder


@pytest.fixture(scope="module")
def detector(demo):
    """Calibrated on the real clips of all other persons."""
    plain = Blur(WindowClips.from_dict(window_clips(np.zeros(1), np.zeros(1), np.zeros(1))))
    clips = [
        path
        for path in sorted([*demo.glob("Celeb-real/*.mp4"), *demo.glob("YouTube-real/*.mp4")])
        if path.name.partition("_")[0] not in _SPLICED
    ]
    maxima = np.array([plain.predict(path).partly.window.logit for path in clips])
    assert len(maxima) >= 9, "else 10% cannot be shown"
    plain.wording = Wording(
        windows=WindowClips.from_dict(
            window_clips(maxima, np.zeros(len(maxima)), np.arange(len(maxima)))
        ),
        rates=plain.wording.rates,
    )
    yield plain
    plain.close()


def _frames(path: Path) -> list[np.ndarray]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        read, frame = capture.read()
        if not read:
            return frames
        frames.append(frame[..., ::-1])


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Temporal intersection over union."""
    shared = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    return shared / (max(one[1], other[1]) - min(one[0], other[0]))


def test_segments_overlap_the_forged_part(demo, detector, tmp_path):
    overlaps = []
    for person in _SPLICED:
        real = _frames(demo / f"Celeb-real/{person}_0000.mp4")
        fake = _frames(demo / f"Celeb-synthesis/{person}_{person}_0000.mp4")
        count, forged = len(real), round(_FORGED * len(real))
        for first in (0, (count - forged) // 2, count - forged):
            frames = [*real[:first], *fake[first : first + forged], *real[first + forged :]]
            answer = detector.predict(write_video(tmp_path / f"{person}-{first}.mp4", frames, FPS))
            truth = (first / FPS, (first + forged) / FPS)
            found = [_overlap((part.start, part.end), truth) for part in answer.partly.segments]
            overlaps.append(max(found, default=0.0))
            # Scores over time belong to the frames that were forged.
            timeline = answer.tracks[0].timeline
            assert [moment.seconds for moment in timeline] == pytest.approx(
                [moment.frame / FPS for moment in timeline], abs=2e-3
            )
    print("temporal IoU:", np.round(overlaps, 2))
    assert np.mean(np.array(overlaps) >= 0.5) >= 0.8, overlaps


def test_real_clips_of_the_same_persons_have_none(demo, detector):
    for person in _SPLICED:
        answer = detector.predict(demo / f"Celeb-real/{person}_0000.mp4")
        assert answer.partly.segments == ()
        assert answer.partly.window.p_value > 0.1
