"""One clip in many wrappings gets one verdict, by the starter."""

from pathlib import Path

import cv2
import pytest
from wrapped_media import WRAPPINGS, encode, squeezed

from preprocessing.media.video import sample_frames
from serving.model import starter
from serving.model.predictor import Predictor

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

CLIP = Path(__file__).parents[1] / "media" / "fake122.mp4"
# Rates of the controls, from hardly a loss to what platforms make of uploads.
RATES = (5, 8, 12, 16, 18, 20, 23, 26, 28)


def narrowed(frames):
    """As much width lost as by the squeezed wrappings."""
    size = frames[0].shape[1::-1]
    return [cv2.resize(small, size, interpolation=cv2.INTER_CUBIC) for small in squeezed(frames)]


def single_fields(frames):
    """As much height lost as where the lines of each second field show another moment."""
    size = frames[0].shape[1::-1]
    return [cv2.resize(frame[::2], size, interpolation=cv2.INTER_CUBIC) for frame in frames]


# What is lost before coding -> the wrappings that lose it; the others lose by coding only.
LOSSES = {
    narrowed: ("squeezed.mp4", "squeezed.mkv", "squeezed.webm"),
    single_fields: ("combed.ts",),
    list: tuple(WRAPPINGS),
}


def test_one_clip_in_many_wrappings_has_one_verdict(tmp_path):
    """Each logit may be as far from the clip's as a re-encoded clip's with the same loss is.

    The plain wrapping is a control as well: the clip re-encoded with the settings of the others.
    The starter is the model since it is the same wherever the test runs. It has not seen drawn
    faces like the clip's, so what it calls the clip counts only in that it does not change.
    """
    predictor = Predictor(starter.FOLDER)
    frames = [frame.pixels for frame in sample_frames(CLIP, 100)]
    plain = predictor.predict(CLIP)
    word = plain.decision_rule.at(0.1).thresholds.verdict
    assert word(plain.logit) == "fake"
    bounds, away = {}, {}
    for loss, names in LOSSES.items():
        controls = [
            predictor.predict(encode(tmp_path / "a.mp4", loss(frames), options={"crf": str(rate)}))
            for rate in RATES
        ]
        controls.append(predictor.predict(WRAPPINGS["plain.mp4"](tmp_path / "a.mp4", loss(frames))))
        bound = max(abs(control.logit - plain.logit) for control in controls)
        print(f"\ncontrols ({loss.__name__}) are up to {bound:.3f} away")
        for name in names:
            bounds.setdefault(name, bound)
    for name, make in WRAPPINGS.items():
        found = predictor.predict(make(tmp_path / name, frames))
        away[name] = abs(found.logit - plain.logit)
        print(f"{name:22}{word(found.logit):10}{found.logit:8.3f}{bounds[name]:8.3f}", flush=True)
        assert word(found.logit) == "fake", name
    predictor.close()
    beyond = {name: distance for name, distance in away.items() if distance > bounds[name]}
    assert not beyond
