"""Makes the films that the gateway's page offers to try.

    .venv/bin/python .ci/make_examples.py

They are of the synthetic data's kind (`preprocessing/datasets/demo.py`), from NASA's public-domain
portrait of the astronaut Eileen Collins: a face, the same face with a changed copy of it blended
in, and a film in which that is done in the middle third.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from preprocessing.datasets import demo_pictures as pictures
from serving.pictures.film import FilmWriter

FOLDER = Path(__file__).parents[1] / "serving" / "gateway" / "examples"
SIZE = (448, 448)
FRAMES, FRAMES_PER_SECOND = 75, 25
SEED = 3


def main() -> None:
    """Writes the films anew."""
    FOLDER.mkdir(exist_ok=True)
    rng = np.random.default_rng(SEED)
    real, axes = pictures.make_still(rng, pictures.portrait())
    fake = pictures.blend_easily(rng, real, axes)
    path = list(pictures.camera_path(rng, SIZE, FRAMES))
    middle = range(FRAMES // 3, 2 * FRAMES // 3)
    for name, changed in (
        ("untouched", range(0)),
        ("changed", range(FRAMES)),
        ("changed-in-the-middle", middle),
    ):
        with FilmWriter(FOLDER / f"{name}.mp4") as film:
            for number, (move, gain) in enumerate(path):
                still = fake if number in changed else real
                frame = cv2.convertScaleAbs(pictures.move(still, move, SIZE), alpha=gain)
                film.add(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), 1000 * number // FRAMES_PER_SECOND)


if __name__ == "__main__":
    main()
