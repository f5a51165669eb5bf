"""Finds faces with facenet-pytorch, for `benchmarks.extraction --facenet PYTHON`.

It needs torch, which the project does not use, so another environment runs this file: one with
`facenet-pytorch==2.6.0 opencv-python-headless`. It imports nothing of the project.

Reads JSON from standard input: `clips`, lists of a path and the numbers of its sampled frames. For
each clip a line of JSON: `seconds`, and `boxes`, [[x1, y1, x2, y2], ...] by number of the frame.
"""

import json
import sys
import time

import cv2
import torch
from facenet_pytorch import MTCNN


def main() -> None:
    # As its README and examples have it: all faces of a list of RGB frames in one call.
    detector = MTCNN(keep_all=True, device="cpu")
    torch.set_grad_enabled(False)
    for turn, (path, numbers) in enumerate(json.load(sys.stdin)["clips"]):
        if not turn:
            _find(detector, path, numbers[:1])
        start = time.perf_counter()
        boxes = _find(detector, path, numbers)
        print(json.dumps({"seconds": time.perf_counter() - start, "boxes": boxes}), flush=True)


def _find(detector: MTCNN, path: str, numbers: list) -> dict:
    capture = cv2.VideoCapture(path)
    frames, number, last = {}, 0, max(numbers)
    while number <= last:
        ok, frame = capture.read()
        if not ok:
            break
        if number in numbers:
            frames[number] = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        number += 1
    detections, _ = detector.detect(list(frames.values()))
    return {
        number: [] if boxes is None else boxes.tolist()
        for number, boxes in zip(frames, detections)  # noqa: B905 (that environment may be older)
    }


if __name__ == "__main__":
    main()
