"""From upload to verdict through the gateway, against the loop that people write.

    python -m benchmarks.upload [--quick]

The films of 10 seconds of `dfdc_mini` (in DEEPFAKE_TEST_MEDIA; without it one of 1080p that is made
of an example of the gateway's page) are sent to a gateway that asks a server with the starter, both
as processes of their own. The gateway's own metrics say how long decoding and searching (`faces`)
and the server's answer (`scores`) take; all else is its share outside of them.

The loop reads the film with OpenCV, gives each sampled frame to mtcnn's `detect_faces`, cuts the
largest face as the model's card says, and calls the model once a crop. What may be started once is
done before, on both sides. Its scores are judged as all are, so that verdicts can be compared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Before anything imports TensorFlow, which else prints pages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from benchmarks._harness import Figure, finish, media, parser
from preprocessing.faces.crop import square_crop
from preprocessing.faces.crop_geometry import crop_box
from preprocessing.faces.face_cropper import Crop
from preprocessing.faces.face_selection import FaceCounts
from preprocessing.faces.given_crops import encode_jpeg
from preprocessing.media.frame import Frame, middles
from serving.gateway.page import examples
from serving.model import card, starter
from serving.model.outputs import CropOutputs
from serving.model.predictor import Predictor
from serving.model.verdict import Verdict, judge
from serving.pictures.film import FilmWriter
from serving.server.process import ServerProcess

# mtcnn's names, in the order of our landmarks.
_POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
_PARTS = ("faces", "scores")


def main() -> None:
    """Measures, and prints what was found."""
    options = parser(__doc__.splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as work:
        clips = _films(Path(work))[: 1 if options.quick else 4]
        figures = _measure(clips, Path(work), rounds=1 if options.quick else 3)
    finish("upload", figures)


def _films(work: Path) -> list[Path]:
    if folder := media("dfdc_mini"):
        return sorted(folder.rglob("*.mp4"))
    made = work / "made.mp4"
    capture = cv2.VideoCapture(str(_example(work)))
    frames = []
    while (read := capture.read())[0]:
        frames.append(cv2.cvtColor(cv2.resize(read[1], (1080, 1080)), cv2.COLOR_BGR2RGB))
    with FilmWriter(made) as film:
        for number in range(250):
            beside = ((0, 0), (420, 420), (0, 0))
            film.add(np.pad(frames[number % len(frames)], beside), 40 * number)
    return [made]


def _example(work: Path) -> Path:
    """A small film of 3 seconds."""
    path = work / "example.mp4"
    path.write_bytes(examples()["changed.mp4"])
    return path


def _measure(clips: list[Path], work: Path, rounds: int) -> dict[str, Figure]:
    plain = _PlainLoop()
    total = inside = loop = 0.0
    same = 0
    print(f"{'film':24}{'upload s':>10}{'outside':>9}{'loop s':>9}  verdicts")
    with ServerProcess([]) as server, _gateway(server, work) as url:
        _ask(url, _example(work))
        plain.verdict(_example(work))
        for clip in clips * rounds:
            before = _seconds_of_parts(url)
            start = time.perf_counter()
            answer = _ask(url, clip)
            seconds = time.perf_counter() - start
            within = _seconds_of_parts(url) - before
            start = time.perf_counter()
            verdict = plain.verdict(clip)
            loop_seconds = time.perf_counter() - start
            total, inside, loop = total + seconds, inside + within, loop + loop_seconds
            same += answer["verdict"] == verdict.verdict
            verdicts = f"{answer['verdict']} {answer['score']:.3f}"
            verdicts += f", {verdict.verdict} {verdict.score or 0:.3f}"
            outside = 1 - within / seconds
            print(
                f"{clip.name:24}{seconds:10.2f}{outside:9.3f}{loop_seconds:9.2f}  {verdicts}",
                flush=True,
            )
    return {
        "films": Figure(len(clips)),
        "seconds_from_upload_to_verdict": Figure(total / (len(clips) * rounds)),
        "share_outside_faces_and_scores": Figure(1 - inside / total, "<= 0.1"),
        "speedup_over_plain_loop": Figure(loop / total, ">= 5"),
        "equal_verdicts": Figure(same / (len(clips) * rounds), ">= 1"),
    }


class _PlainLoop:
    """mtcnn on each sampled frame, and the model once a crop."""

    def __init__(self) -> None:
        from mtcnn import MTCNN

        self._detector = MTCNN()
        self._model = Predictor(starter.FOLDER)
        self._settings = card.read(self._model.model).answer_settings()

    def verdict(self, path: Path) -> Verdict:
        """As a person's own script would have it."""
        crops = [crop for frame in self._frames(path) if (crop := self._largest(frame))]
        counts = FaceCounts(frames=self._settings.frames_per_clip, crops=len(crops), tracks=1)
        return judge(path.name, crops, counts, self._outputs, self._model.decision_rule, "starter")

    def _frames(self, path: Path) -> Iterator[Frame]:
        capture = cv2.VideoCapture(str(path))
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        wanted = set(middles(count, self._settings.frames_per_clip))
        number = 0
        while (read := capture.read())[0]:
            if number in wanted:
                at = int(capture.get(cv2.CAP_PROP_POS_MSEC))
                yield Frame(number, at, cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
            number += 1

    def _largest(self, frame: Frame) -> Crop | None:
        faces = self._detector.detect_faces(frame.pixels)
        if not faces:
            return None
        face = max(faces, key=lambda face: face["box"][2] * face["box"][3])
        x, y, width, height = face["box"]
        box = np.array([x, y, x + width, y + height], np.float32)
        points = np.array([face["keypoints"][name] for name in _POINTS], np.float32)
        square, margin = crop_box(self._settings, box, points)
        pixels = square_crop(frame.pixels, square, margin, self._settings.max_crop_size)
        jpeg = encode_jpeg(pixels, self._settings.jpeg_quality)
        return Crop(jpeg, 0, frame, box, points, face["confidence"])

    def _outputs(self, jpegs: Any) -> CropOutputs:
        parts = [self._model.outputs([jpeg]) for jpeg in jpegs]
        appearance = [part.appearance for part in parts if part.appearance is not None]
        return CropOutputs(
            np.concatenate([part.logits for part in parts]),
            np.concatenate(appearance) if appearance else None,
        )


@contextmanager
def _gateway(server: ServerProcess, folder: Path) -> Iterator[str]:
    """The address of a gateway that asks a server for the starter's scores."""
    command = [
        *(sys.executable, "-m", "serving.gateway", "--until-stdin-closes", "--port", "0"),
        *("--server", f"grpc://{server.grpc}"),
    ]
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        )
    try:
        line = process.stdout.readline() if process.stdout else b""
        if not line:
            raise RuntimeError((folder / "gateway.log").read_text()[-3000:])
        yield json.loads(line)["gateway"]["http"]
    finally:
        process.terminate()
        process.wait()


def _ask(url: str, clip: Path) -> dict[str, Any]:
    name = {"name": clip.name}
    answer = httpx.post(f"{url}/v1/verdict", params=name, content=clip.read_bytes(), timeout=600)
    answer.raise_for_status()
    verdict: dict[str, Any] = answer.json()
    return verdict


def _seconds_of_parts(url: str) -> float:
    """Seconds that decoding, searching and scores have taken so far."""
    page = httpx.get(f"{url}/metrics", timeout=60).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "deepfake_gateway_seconds_sum" and sample.labels["part"] in _PARTS
    )


if __name__ == "__main__":
    main()
