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
from serving.model.verdict import DecisionRule
from serving.model.windows import WindowClips, window_clips

pytestmark = pytest.mark.integration

# Share of a clip's frames that are forged, and where they begin, as a share of those that are not.
_FORGED = ((0.4, 0.0), (0.2, 0.5), (0.4, 1.0))
# At 10% nine clips are needed.
_RATE = 0.1


class Tint(FilePredictor):
    """A detector that was not trained: its logit is how green the middle of a crop is.

    What is tested is the way from a file to its segments, so forged frames are made for it.
    """

    def __init__(self):
        settings = CropSettings(frames_per_clip=16)
        super().__init__("tint", settings, DecisionRule(), {"name": "tint", "version": 1}, False)

    def rank_among(self, maxima: np.ndarray) -> None:
        """Takes these as the windows of val's real clips, a person each."""
        clips = window_clips(maxima, np.zeros(len(maxima)), np.arange(len(maxima)))
        self.decision_rule = DecisionRule(
            windows=WindowClips.from_dict(clips), rates=Rates(false_positive_rate=_RATE)
        )

    def outputs(self, jpegs: Sequence[bytes]) -> CropOutputs:
        return CropOutputs(np.array([_tint(jpeg) for jpeg in jpegs], np.float32))


def _tint(jpeg: bytes) -> float:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    middle = cv2.resize(picture, (96, 96), interpolation=cv2.INTER_AREA)[16:80, 16:80]
    blue, green, red = middle.astype(np.float64).mean(axis=(0, 1))
    return float(green - (blue + red) / 2 - 20.0) / 4.0


def _forged(frame: np.ndarray) -> np.ndarray:
    forged = frame.copy()
    forged[..., 1] = np.minimum(forged[..., 1].astype(int) + 60, 255)
    return forged


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    make_demo_data(folder, DemoConfig(train_identities=7, val_identities=2, test_identities=3))
    return folder


@pytest.fixture(scope="module")
def reals(made) -> list[Path]:
    """All real clips, a person each."""
    return sorted(made.glob("Celeb-real/*_0000.mp4"))


@pytest.fixture(scope="module")
def detector():
    detector = Tint()
    yield detector
    detector.close()


@pytest.fixture(scope="module")
def maxima(reals, detector) -> np.ndarray:
    detector.rank_among(np.zeros(1))
    return np.array([detector.predict(path).parts.window.logit for path in reals])


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


def test_segments_overlap_the_forged_part(reals, detector, maxima, tmp_path):
    """Of every person, at the start, in the middle and at the end."""
    detector.rank_among(maxima)
    overlaps = []
    for path in reals:
        real = _frames(path)
        for share, place in _FORGED:
            length = round(share * len(real))
            first = round(place * (len(real) - length))
            forged = [_forged(frame) for frame in real[first : first + length]]
            frames = [*real[:first], *forged, *real[first + length :]]
            answer = detector.predict(write_video(tmp_path / "spliced.mp4", frames, FPS))
            truth = (first / FPS, (first + length) / FPS)
            segments = answer.parts.segments
            shares = [_overlap((part.start, part.end), truth) for part in segments]
            overlaps.append(max(shares, default=0.0))
            # Scores over time belong to the frames that were forged.
            for moment in answer.tracks[0].timeline:
                assert moment.seconds == pytest.approx(moment.frame / FPS, abs=2e-3)
                assert (moment.score > 0.5) == (first <= moment.frame < first + length)
    print("temporal IoU:", np.round(overlaps, 2))
    assert len(overlaps) == len(_FORGED) * len(reals)
    assert np.mean(np.array(overlaps) >= 0.5) >= 0.8, overlaps


def test_a_real_clip_has_segments_only_beyond_the_windows_of_the_others(reals, detector, maxima):
    """Each clip among all others, which nine are enough for."""
    assert len(reals) >= 10
    for number, path in enumerate(reals):
        others = np.delete(maxima, number)
        detector.rank_among(others)
        answer = detector.predict(path)
        p_value = (1 + (others >= maxima[number]).sum()) / (1 + len(others))
        assert answer.parts.window.p_value == pytest.approx(p_value)
        assert bool(answer.parts.segments) == (p_value <= _RATE)
