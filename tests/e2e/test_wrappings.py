"""One clip in many wrappings gets one verdict, by the demo's model."""

from pathlib import Path

import cv2
import pytest
from wrapped_media import WRAPPINGS, encode, squeezed

from preprocessing.media.video import sample_frames
from serving.predict import Predictor

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CLIP = Path(__file__).parents[1] / "media" / "fake122.mp4"
# Losses that the wrappings below share: of coding, and for the squeezed ones of width.
CONTROLS = {
    "coarse.mp4": lambda path, frames: encode(path, frames, options={"crf": "20"}),
    "smooth.mp4": lambda path, frames: encode(
        path,
        [
            cv2.resize(small, frames[0].shape[1::-1], interpolation=cv2.INTER_CUBIC)
            for small in squeezed(frames)
        ],
    ),
    "palette.mp4": lambda path, frames: encode(
        path, [frame // 32 * 32 + 16 for frame in frames], options={"crf": "12"}
    ),
}


def judged(predictor, clip, folder):
    """Verdicts of the clip, of its controls and of its wrappings, by name."""
    frames = [frame.pixels for frame in sample_frames(clip, 100)]
    plain = predictor.predict(clip)
    sides = []
    for makers in (CONTROLS, WRAPPINGS):
        sides.append({})
        for name, make in makers.items():
            sides[-1][name] = predictor.predict(make(folder / name, frames))
            print(f"{name:22}{sides[-1][name].verdict:10}{sides[-1][name].logit:8.3f}", flush=True)
    return plain, *sides


def test_one_clip_in_many_wrappings_has_one_verdict(demo_model, tmp_path):
    check(demo_model, tmp_path)


def check(model, folder):
    predictor = Predictor(model)
    plain, controls, wrapped = judged(predictor, CLIP, folder)
    predictor.close()
    bound = max(abs(control.logit - plain.logit) for control in controls.values())
    print(f"{'the clip itself':22}{plain.verdict:10}{plain.logit:8.3f}, bound {bound:.3f}")
    assert plain.verdict == "fake"
    assert {name: one.verdict for name, one in wrapped.items()} == dict.fromkeys(wrapped, "fake")
    away = {name: abs(one.logit - plain.logit) for name, one in wrapped.items()}
    assert not {name: distance for name, distance in away.items() if distance > bound}
