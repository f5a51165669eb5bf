"""`--all-faces` of predict, score and evaluate: bystanders are judged as well."""

import json

import numpy as np
import pandas as pd
import pytest
from made_media import face_frame, write_image
from serving_support.gateway import write_metadata
from serving_support.models import face_detector

from pipeline.cli import main

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A version whose crops leave out faces that are much smaller than the largest one."""
    version = face_detector(tmp_path_factory.mktemp("model") / "1")
    write_metadata(version, real_below=0.4, fake_above=0.6, min_relative_size=0.6)
    return version


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Pictures of one person, with another one in the background."""
    root = tmp_path_factory.mktemp("data")
    for label, left in (("real", 200), ("fake", 220)):
        frame = face_frame([(0, 20, 1.0), (left, 20, 0.4)])
        (root / label).mkdir()
        write_image(root / label / f"{label}.png", np.ascontiguousarray(frame))
    return root


@pytest.mark.parametrize(("option", "judged"), [([], 1), (["--all-faces"], 2)])
class TestAllFaces:
    def test_predict(self, model, data, capsys, option, judged):
        status = main(
            ["predict", "--json", *option, "--model", str(model), str(data / "real/real.png")]
        )
        (answer,) = json.loads(capsys.readouterr().out)
        assert status == 0
        assert (answer["faces_found"], answer["faces"]) == (2, judged)
        assert len(answer["tracks"]) == judged
        assert sum(answer["left_out"].values()) == 2 - judged

    def test_score(self, model, data, tmp_path, option, judged):
        output = tmp_path / "scores.parquet"
        arguments = ["--model", str(model), "--data", str(data), "--output", str(output)]
        assert main(["score", *option, *arguments]) == 0
        assert list(pd.read_parquet(output)["tracks"]) == [judged] * 2

    def test_evaluate(self, model, data, tmp_path, option, judged):
        arguments = ["--model", str(model), "--data", str(data), "--output", str(tmp_path)]
        assert main(["evaluate", *option, *arguments]) == 0
        scores = pd.read_csv(tmp_path / "clip_evaluation" / "test_crops.csv")
        assert len(scores) == 2 * judged
