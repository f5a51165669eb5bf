"""Small pictures of faces in answers, with heat maps to be laid over them."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from serving.gateway.crop_worker import DetectedFaces
from serving.model.verdict import Verdict

# Faces that an answer shows at most: of a track, and of all.
TRACK_FACES, ANSWER_FACES = 6, 24
# Pixels of a heat map's side; the class activation map has far fewer positions.
_SIDE = 64


def strip_faces(verdict: Verdict, faces: DetectedFaces) -> dict[int, list[int]]:
    """The crops that the strips of an answer show, by track.

    Of each track the most suspicious, and others evenly over its time; fewer of each where the
    tracks are many, and none of the least suspicious tracks where they are more than the faces.

    Args:
      verdict: verdict on the file.
      faces: faces that it rests on.

    Returns:
      Numbers of crops in order of time, at most TRACK_FACES a track and ANSWER_FACES in all.
    """
    faces_per_track = max(1, min(TRACK_FACES, ANSWER_FACES // max(1, len(verdict.tracks))))
    crops_by_track = {}
    for track in verdict.tracks[:ANSWER_FACES]:
        # Those of a track are in order of time, here as there.
        numbers = [i for i, crop in enumerate(faces.crops) if crop.track == track.track]
        logits = [moment.logit for moment in track.timeline]
        highest = int(np.argmax(logits))
        even = (
            np.linspace(0, len(numbers) - 1, min(faces_per_track, len(numbers))).round().astype(int)
        )
        nearest = int(np.argmin(np.abs(even - highest)))
        even[nearest] = highest
        crops_by_track[track.track] = [numbers[index] for index in sorted(set(even.tolist()))]
    return crops_by_track


def strips(
    verdict: Verdict,
    faces: DetectedFaces,
    crops_by_track: dict[int, list[int]],
    cells: np.ndarray | None,
) -> dict[int, list[dict[str, Any]]]:
    """The strips, see `serving.model.answer.ShownFace`, by track.

    Args:
      verdict: verdict on the file.
      faces: faces that it rests on, with a thumbnail of each.
      crops_by_track: numbers of crops by track, see `strip_faces`.
      cells: float [crops, rows, columns], class activation maps of these crops, one track after
        the other; None where the model gives none.
    """
    layers = None if cells is None else iter(cells)
    strips_by_track = {}
    for track in verdict.tracks:
        moments = {moment.frame: moment for moment in track.timeline}
        strips_by_track[track.track] = [
            {
                "frame": moment.frame,
                "seconds": moment.seconds,
                "score": moment.score,
                "picture": _text(faces.thumbnails[number]),
                **({} if layers is None else {"heat": _layer(next(layers))}),
            }
            for number in crops_by_track.get(track.track, ())
            for moment in (moments[faces.crops[number].frame.index],)
        ]
    return strips_by_track


def _layer(cells: np.ndarray) -> str:
    import cv2

    from serving.pictures.heat_map import heat_layer

    layer = cv2.cvtColor(heat_layer(cells, _SIDE, _SIDE), cv2.COLOR_RGBA2BGRA)
    return _text(cv2.imencode(".png", layer)[1].tobytes())


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
