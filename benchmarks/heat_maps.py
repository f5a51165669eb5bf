"""Whether heat maps show what a logit rests on: deletion of the hottest positions.

    python -m benchmarks.heat_maps [--quick] [--model DIR]

For fakes of Celeb-DF v2's test in the folder that DEEPFAKE_TEST_MEDIA names, the positions
whose logits are highest, a fifth of them, are blurred until nothing is seen there, and as many at
random, five times. A heat map that tells the truth finds positions whose loss lowers the crop's
logit more (the deletion metric of Petsiuk et al., "RISE: Randomized Input Sampling for Explanation
of Black-box Models", 2018).
"""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np

from benchmarks._harness import Figure, finish, parser, spread
from benchmarks._real_crops import folder_of
from preprocessing.faces.given_crops import encode_jpeg
from preprocessing.support.errors import UsageError
from serving.model.predictor import Predictor
from serving.model.starter import named_or_starter

_SHARE = 0.2
_DRAWS = 5
_QUALITY = 95


def main() -> None:
    """Measures, and prints what was found."""
    arguments = parser(str(__doc__).splitlines()[0])
    arguments.add_argument("--model", help="a model of crops; the starter where none is named")
    options = arguments.parse_args()
    predictor = Predictor(named_or_starter(options.model))
    crops = spread(_test_fakes(), 40 if options.quick else 400)
    rng = np.random.default_rng(0)
    drops = np.array([_drops(predictor, file.read_bytes(), rng) for file, _ in crops])
    predictor.close()
    hottest, random = drops[:, 0], drops[:, 1]
    persons = np.unique([person for _, person in crops], return_inverse=True)[1]
    low, high = interval(hottest - random, persons, rng)
    print(
        f"{len(drops)} crops of {persons.max() + 1} persons; a logit falls by {hottest.mean():.3f} "
        f"without its hottest positions and by {random.mean():.3f} without others: "
        f"{(hottest - random).mean():.3f} more, 95% over persons [{low:.3f}, {high:.3f}]"
    )
    finish(
        "heat_maps",
        {
            "logit_drop_hottest": Figure(float(hottest.mean())),
            "logit_drop_random": Figure(float(random.mean())),
            "drop_difference_low": Figure(float(low), ">= 0.0"),
            "share_of_crops_where_hottest_matter_more": Figure(
                float((hottest > random).mean()), ">= 0.5"
            ),
        },
    )


def interval(
    values: np.ndarray, persons: np.ndarray, rng: np.random.Generator, draws: int = 2000
) -> tuple[float, float]:
    """95% of the mean of crops' values when persons are drawn with replacement.

    Args:
      values: float [crops].
      persons: int [crops], from 0.
      rng: draws the persons.
      draws: of as many persons as there are.
    """
    sums, counts = np.bincount(persons, values), np.bincount(persons)
    drawn = rng.integers(len(counts), size=(draws, len(counts)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _test_fakes() -> list[tuple[Path, str]]:
    """All crops of fake clips of the test split, each with the person who is shown."""
    root = folder_of("celeb_df")
    with (root / "clips.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    return [
        (root / row["path"], row["identities"].partition("|")[0])
        for row in rows
        if row["label"] == "fake"
    ]


def _drops(predictor: Predictor, encoded: bytes, rng: np.random.Generator) -> tuple[float, float]:
    """How far the logit falls without the hottest positions, and on average without random ones."""
    cells = predictor.cells([encoded])
    if cells is None:
        raise UsageError("the model has no signature `explain`; export it with this version")
    (cells,) = cells
    number = max(1, round(_SHARE * cells.size))
    chosen = [np.argsort(cells, axis=None)[-number:]]
    chosen += [rng.choice(cells.size, number, replace=False) for _ in range(_DRAWS)]
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    changed = [_without(pixels, cells.shape, positions) for positions in chosen]
    # The whole crop is encoded anew, too, so that encoding is no difference.
    whole, hottest, *others = predictor.outputs(
        [encode_jpeg(picture, _QUALITY) for picture in (pixels, *changed)]
    ).logits
    return float(whole - hottest), float(whole - np.mean(others))


def _without(pixels: np.ndarray, shape: tuple[int, ...], positions: np.ndarray) -> np.ndarray:
    """The crop with positions blurred, softly at their edges."""
    height, width = pixels.shape[:2]
    mask = np.zeros(shape, np.float32)
    mask.flat[positions] = 1.0
    mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
    blurred = cv2.GaussianBlur(pixels, (0, 0), max(height, width) / 12)
    mixed: np.ndarray = np.rint((1.0 - mask) * pixels + mask * blurred).astype(np.uint8)
    return mixed


if __name__ == "__main__":
    main()
