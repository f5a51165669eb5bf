"""Which faces of a file an answer shows."""

import numpy as np

from preprocessing.faces.face_cropper import Crop
from preprocessing.faces.face_selection import FaceCounts
from preprocessing.media.frame import Frame
from serving.gateway.crop_worker import DetectedFaces
from serving.gateway.face_strips import ANSWER_FACES, TRACK_FACES, strip_faces
from serving.model.verdict import DecisionRule, judge_logits
from serving.model.windows import CropPositions


def test_strips_are_bounded_and_show_the_most_suspicious_face():
    rng = np.random.default_rng(0)

    def chosen(*lengths):
        logits = rng.normal(size=sum(lengths))
        tracks = np.repeat(np.arange(len(lengths)), lengths)
        frames = np.concatenate([np.arange(length) for length in lengths])
        positions = CropPositions.of(tracks.tolist(), frames.tolist(), [0.0] * len(logits))
        verdict = judge_logits("f", logits, positions, FaceCounts(), None, DecisionRule())
        crops = [
            Crop(b"", int(track), Frame(int(frame), 0, None), None, None, 1.0)
            for track, frame in zip(tracks, frames, strict=True)
        ]
        strips = strip_faces(verdict, DetectedFaces(crops, FaceCounts(), {}))
        for track, numbers in strips.items():
            own = np.flatnonzero(tracks == track)
            assert own[np.argmax(logits[own])] in numbers
            assert list(numbers) == sorted(numbers)
            assert set(numbers) <= set(own)
        return strips

    assert {len(numbers) for numbers in chosen(32).values()} == {TRACK_FACES}
    assert chosen(3) == {0: [0, 1, 2]}
    assert sum(map(len, chosen(*[9] * 7).values())) <= ANSWER_FACES
    assert len(chosen(*[2] * 40)) == ANSWER_FACES
