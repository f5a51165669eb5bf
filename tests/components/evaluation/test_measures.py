"""metrics.json: its form, and what is refused when it is read."""

import json

import pandas as pd
import pytest

from components.evaluation import results
from components.evaluation.measurement import compare, find, measure_split
from preprocessing.support.errors import UsageError


def crops() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "clip_id": ["a.mp4", "b.mp4"],
            "pair_id": ["a.mp4", "a.mp4"],
            "dataset": "d",
            "method": ["real", "swap"],
            "identity": ["p", "q"],
            "label": [0, 1],
            "track_id": 0,
            "frame_index": 0,
            "face_size": 100.0,
            "score": [0.25, 0.75],
            "logit": [-1.0, 1.0],
        }
    )


@pytest.fixture
def written(tmp_path):
    """The file of two clips, compared with themselves."""
    from components.evaluation.scores import clip_tables

    clips = clip_tables(crops())[1]
    comparison = compare(clips, clips, 100).model_copy(update={"baseline": "/models/1"})
    results.write(tmp_path, {"test": measure_split(crops(), 0)}, [], comparison)
    return tmp_path


def test_the_file_keeps_its_form(written):
    """Key by key as earlier versions wrote it; readers outside of this project may rely on it."""
    text = (written / results.METRICS).read_text()
    values = json.loads(text)
    assert json.dumps(values, indent=1) == text
    assert list(values) == ["splits", "comparison"]
    assert list(values["splits"]["test"]) == ["crops", "clips", "resamples"]
    overall = values["splits"]["test"]["clips"][0]
    assert list(overall) == ["key", "value", "real", "fake", "clusters", "metrics"]
    assert overall["metrics"]["auc"] == {"value": 1.0, "low": None, "high": None, "note": ""}
    assert list(overall["metrics"]["auc"]) == ["value", "low", "high", "note"]
    comparison = values["comparison"]
    assert list(comparison) == ["clips", "only_candidate", "only_baseline", "metrics", "baseline"]
    names = ["candidate", "baseline", "value", "low", "high", "note"]
    assert list(comparison["metrics"]["auc"]) == names
    assert results.read(written).to_dict() == values


def test_without_a_predecessor_the_comparison_is_null(tmp_path):
    results.write(tmp_path, {"test": measure_split(crops(), 0)}, [], None)
    assert json.loads((tmp_path / results.METRICS).read_text())["comparison"] is None
    assert results.read(tmp_path).comparison is None


def test_a_file_that_says_something_else_is_refused(written):
    path = written / results.METRICS
    path.write_text(path.read_text().replace('"value": 1.0', '"value": "high"', 1))
    with pytest.raises(
        UsageError, match=r"^splits.test.crops.metrics.[a-z_]+.value: 'high' is not a number"
    ):
        results.read(written)


def test_slices_are_found_by_name():
    slices = measure_split(crops(), 0).clips
    assert find(slices).key == "overall"
    assert find(slices, "method", "swap").fake == 1
    with pytest.raises(LookupError, match="no slice method=morph"):
        find(slices, "method", "morph")
