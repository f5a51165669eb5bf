"""The lines of `deepfake score`: they say of a clip what its row of the table says."""

import pandas as pd
import pytest

from components.evaluation.scores import CROP_COLUMNS, clip_tables
from pipeline.score_lines import clip_distance
from preprocessing.extraction import face_example as names


@pytest.mark.parametrize(
    ("distances", "expected"),
    [
        ([1.0, 4.0, 2.0], 2.5),
        ([1.0, float("nan"), 2.0], float("nan")),
        ([1.0, 4.0, float("nan")], float("nan")),
    ],
    ids=["finite", "NaN in a track", "NaN alone in a track"],
)
def test_a_clip_has_the_distance_of_its_row(distances, expected):
    crops = pd.DataFrame({column: ["a"] * 3 for column in CROP_COLUMNS}).assign(
        **{names.LABEL: 1, names.TRACK_ID: [0, 0, 1], "face_size": 90.0, "logit": 0.5},
        distance=distances,
    )
    _, clips = clip_tables(crops)
    assert clips["distance"].tolist() == pytest.approx([expected], nan_ok=True)
    assert clip_distance(crops) == pytest.approx(expected, nan_ok=True)
