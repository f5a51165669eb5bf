"""`deepfake drift` on tables of scores, and on a model card."""

import json

import numpy as np
import pandas as pd
import pytest
from made_media import face_frame, write_image

from components.evaluation.drift import Drift
from pipeline.cli import main
from pipeline.drift import Sample, comparison_table
from serving.model.starter import FOLDER


def table(path, logits, distances=None):
    columns = {"clip_id": [f"{number}.mp4" for number in range(len(logits))], "logit": logits}
    if distances is not None:
        columns["distance"] = distances
    pd.DataFrame(columns).to_parquet(path)
    return str(path)


@pytest.fixture
def tables(tmp_path):
    """Two of the same kind, and one whose scores and distances are others."""
    rng = np.random.default_rng(0)

    def draw(name, shift):
        logits = rng.normal(shift, 1.0, 80)
        logits[:4] = np.nan
        return table(tmp_path / name, logits, rng.gamma(2.0 + 3 * abs(shift), 1.0, 80))

    return draw("a.parquet", 0.0), draw("b.parquet", 0.0), draw("c.parquet", -2.0)


def test_what_drifted_decides_the_exit_status(tables, capsys):
    first, same, other = tables
    assert main(["drift", "--scores", first, "--scores", same]) == 0
    said = capsys.readouterr().out
    assert "DRIFTED" not in said
    assert f"{first}: 76 score, 76 familiarity; 5.0% without a score" in said
    assert main(["drift", "--scores", first, "--scores", other, "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert [(row["quantity"], row["measure"]) for row in found["drift"]] == [
        ("score", "psi"), ("score", "ks"), ("familiarity", "psi"), ("familiarity", "ks"),
    ]  # fmt: skip
    assert all(row["drifted"] for row in found["drift"])
    assert found["current"]["unscored"] == pytest.approx(0.05)
    # Nothing is beyond limits that are high enough.
    limits = ["--max-psi", "99", "--max-ks", "1"]
    assert main(["drift", "--scores", first, "--scores", other, *limits]) == 0


def test_digits_tell_the_limit_from_what_lies_beyond_it():
    rows = [
        Drift("score", "psi", value=0.2503, low=0.2501, high=0.31, limit=0.25),
        Drift("score", "ks", value=0.2001, low=0.15, high=0.25, limit=0.2),
        Drift("familiarity", "ks", value=0.1234, low=0.1, high=0.2, limit=0.2),
    ]
    sample = Sample("a.parquet", {"score": np.zeros(20), "familiarity": np.zeros(20)})
    lines = comparison_table(sample, sample, rows).splitlines()[:4]
    assert [line.split() for line in lines[1:]] == [
        ["score", "psi", "0.2503", "[0.2501,", "0.3100]", "0.2500", "DRIFTED"],
        ["score", "ks", "0.2001", "[0.1500,", "0.2500]", "0.2000"],
        ["familiarity", "ks", "0.123", "[0.100,", "0.200]", "0.200"],
    ]
    assert len(lines[0]) == len(lines[2]) == len(lines[3])


def test_a_model_card_is_a_reference_as_well(tmp_path, capsys):
    rng = np.random.default_rng(1)
    card = json.loads((FOLDER / "1/assets.extra/deepfake_model.json").read_text())
    own = np.array([v for name in ("real", "fake") for v in card["conformal"][name]["values"]])
    distances = np.array(card["familiarity"]["distances"]["values"])
    like = table(tmp_path / "like.parquet", rng.choice(own, 300), rng.choice(distances, 300))
    assert main(["drift", "--scores", like, "--model", str(FOLDER)]) == 0
    assert f"val of {FOLDER}: 1079 score, 1079 familiarity\n" in capsys.readouterr().out
    far = table(tmp_path / "far.parquet", rng.choice(own, 300), 3 * rng.choice(distances, 300))
    assert main(["drift", "--scores", far, "--model", str(FOLDER)]) == 3
    rows = [row.split() for row in capsys.readouterr().out.splitlines()]
    assert [row[-1] == "DRIFTED" for row in rows[1:5]] == [False, False, True, True]


def test_tables_without_distances_are_compared_by_score(tmp_path, tables, capsys):
    plain = table(tmp_path / "plain.parquet", np.linspace(-2, 2, 50))
    assert main(["drift", "--scores", tables[0], "--scores", plain]) == 0
    said = capsys.readouterr().out
    assert "not compared, because one of them lacks it: familiarity" in said


def test_tables_that_cannot_be_compared(tmp_path, tables, capsys):
    def refused(*arguments):
        assert main(["drift", *map(str, arguments)]) == 2
        return capsys.readouterr().err

    assert "1 tables are given; give --scores twice" in refused("--scores", tables[0])
    both = ["--scores", tables[0], "--scores", tables[1]]
    assert "2 tables are given" in refused(*both, "--model", FOLDER)
    for limit in ("nan", "inf", "-1"):
        assert f"--max-psi: {float(limit)} is no limit" in refused(*both, f"--max-psi={limit}")
    few = table(tmp_path / "few.parquet", np.zeros(19))
    assert f"{few} holds 19 clips with a score, and 20 are needed" in refused(
        "--scores", few, "--scores", tables[0]
    )
    gone = tmp_path / "gone.parquet"
    assert f"{gone} is no table of `deepfake score`" in refused(*both[:2], "--scores", gone)
    (tmp_path / "text.parquet").write_text("text")
    assert "is no table of" in refused(*both[:2], "--scores", tmp_path / "text.parquet")
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "x.parquet")
    assert "is no table of" in refused(*both[:2], "--scores", tmp_path / "x.parquet")
    nothing = table(tmp_path / "nothing.parquet", np.full(40, np.nan))
    assert "holds 0 clips with a score" in refused(*both[:2], "--scores", nothing)


@pytest.mark.integration
def test_the_tables_of_score_hold_what_is_compared(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    write_image(data / "a.png", face_frame([(60, 40, 1.0)]))
    write_image(data / "wall.png", np.full((240, 320, 3), 127, np.uint8))
    output = tmp_path / "scores.parquet"
    assert main(["score", "--data", str(data), "--output", str(output)]) == 4
    scores = pd.read_parquet(output).set_index("clip_id")
    assert scores.loc["a.png", "distance"] > 0
    assert np.isnan(scores.loc["wall.png", "distance"])
