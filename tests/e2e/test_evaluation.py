"""The report of a run and the commands on finished models, on the small trained pipeline."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from e2e import browser

from components.evaluation import results
from components.report.templating import fill
from pipeline import clip_scoring
from pipeline.cli import main
from pipeline.model_evaluation import _warnings, evaluate_model
from pipeline.scoring import ScoringRequest
from preprocessing.manifest.manifest import Manifest
from preprocessing.support.errors import UsageError
from serving.model import card
from serving.model.verdict import NOT_A_VERDICT

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def chromium() -> str:
    path = browser.find()
    if path is None:
        pytest.skip("no chromium or chrome to look at the page with")
    return path


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory, workspace, pushed_model) -> Path:
    """The pushed model measured on the whole dataset of the workspace."""
    output = tmp_path_factory.mktemp("evaluation") / "out"
    request = ScoringRequest(str(pushed_model.parent), str(workspace.data), str(output))
    assert evaluate_model(request) == 0
    return output


@pytest.mark.parametrize("width", [1400, 400])
def test_report_of_a_run_shows_everything_and_cuts_nothing(tmp_path, first_run, chromium, width):
    page = Path(first_run[1]["page"])
    found = browser.look(chromium, page, width, tmp_path / "look")
    assert found["faults"] == []
    assert found["elements"] > 300


def test_the_look_finds_what_is_wrong(tmp_path, first_run, chromium):
    """The test above can fail: a wide table, text on text, a broken picture."""
    page = tmp_path / "broken.html"
    text = Path(first_run[1]["page"]).read_text()
    wide = '<div style="width:2000px">wide</div><p>one</p><p style="margin-top:-2em">two</p>'
    page.write_text(text.replace("</h1>", f"</h1>{wide}<img alt='gone' src='data:,'>", 1))
    faults = " ".join(browser.look(chromium, page, 1400, tmp_path / "look")["faults"])
    assert "page wider" in faults
    assert "overlap" in faults
    assert "picture: gone" in faults


def test_report_says_what_the_artifacts_say(first_run):
    _, summary = first_run
    data = json.loads(Path(summary["page"]).with_name("report.json").read_text())
    measured = results.read(summary["clip_evaluation"]).splits["test"].clips[0].to_dict()
    assert data["splits"]["test"]["clips"][0] == measured
    assert data["gate"] == summary["gate"]
    assert data["blessed"]
    assert data["dataset"]["clean"]
    assert data["dataset"]["clips"] == summary["extraction"]["clips"]
    assert data["extraction"]["crops"] == summary["extraction"]["crops"]
    assert len(data["history"]) == 1
    at_half = data["confusion"][0]
    assert sum(at_half[key] for key in at_half if "called" in key) == sum(
        measured[key] for key in ("real", "fake")
    )
    names = {counts["name"] for counts in data["confusion"]}
    reals = card.read(summary["pushed"]).conformal.real
    shown = {f"fpr_{rate:g}" for rate in (0.1, 0.05, 0.01, 0.001) if rate >= reals.smallest_rate}
    assert names == {"0.5", *shown}, "thresholds that the persons of val can show"


def test_deepfake_report_draws_a_lost_page_again(first_run, workspace, capsys):
    page = Path(first_run[1]["page"])
    before = page.read_text()
    page.unlink()
    assert main(["report", str(workspace.output)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(page)
    again = page.read_text()
    assert len(again) == pytest.approx(len(before), rel=0.01)


def test_evaluate_scores_the_same_clips_alike(evaluation, first_run):
    there = results.read_scores(evaluation / "clip_evaluation", "test", "clips")
    here = results.read_scores(first_run[1]["clip_evaluation"], "test", "clips")
    both = here.merge(there, on="clip_id", suffixes=("", "_there"))
    assert len(both) == len(here) < len(there)
    assert both["logit_there"].to_numpy() == pytest.approx(both["logit"].to_numpy(), abs=1e-5)
    assert (evaluation / "report.html").exists()
    data = json.loads((evaluation / "report.json").read_text())
    assert "may be among it" in data["dataset"]["leaks"][0]
    assert data["dataset"]["datasets"] == ["demo"], "no report may show drawings as Celeb-DF's"


def test_runs_of_different_data_are_compared_on_what_they_share(
    evaluation, first_run, workspace, tmp_path, capsys, chromium
):
    target = tmp_path / "both.html"
    runs = [str(workspace.output), str(evaluation)]
    assert main(["compare", *runs, "--output", str(target)]) == 0
    said = capsys.readouterr().out
    tested = len(results.read_scores(first_run[1]["clip_evaluation"], "test", "clips"))
    assert "The two runs are of different data." in said
    assert f"Compared on the {tested} test clips that both have, by content" in said
    assert browser.look(chromium, target, 400, tmp_path / "look")["faults"] == []


def test_long_names_of_runs_fit_a_phone(tmp_path, chromium):
    names = ["demo/1700000000 on a_dataset_with_a_name (here)", "demo"]
    page = tmp_path / "page.html"
    rows = [["Accuracy", "0.5", "0.4", "+0.100"]]
    page.write_text(fill("comparison.html.j2", names=names, remarks=[], rows=rows))
    assert browser.look(chromium, page, 400, tmp_path / "look")["faults"] == []


def test_clips_are_the_same_by_content_and_not_by_name(evaluation, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(evaluation, other, ignore=shutil.ignore_patterns("face-store"))
    tested = len(results.read_scores(evaluation / "clip_evaluation", "test", "clips"))
    report = json.loads((other / "report.json").read_text())
    report["sources"]["clip_evaluation"] = str(other / "clip_evaluation")
    report["sources"]["manifest"] = str(other / "inputs" / "manifest.csv")
    (other / "report.json").write_text(json.dumps(report))

    def change(path, columns):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        for name, function in columns.items():
            table[name] = [function(value) for value in table[name]]
        table.to_csv(path, index=False)

    def compare():
        status = main(["compare", str(evaluation), str(other)])
        return status, capsys.readouterr()

    scores, manifest = other / "clip_evaluation/test_clips.csv", other / "inputs/manifest.csv"
    # The same files by other names.
    change(scores, {"clip_id": "elsewhere/{}".format})
    change(manifest, {"path": "elsewhere/{}".format})
    status, said = compare()
    assert status == 0
    assert f"Compared on the same {tested} test clips, by content." in said.out
    assert "are of different data" not in said.out
    # Other files by the same names: the names of two datasets tell nothing.
    change(scores, {"clip_id": lambda name: name.removeprefix("elsewhere/")})
    change(
        manifest,
        {
            "path": lambda name: name.removeprefix("elsewhere/"),
            "sha256": lambda content: content[::-1],
        },
    )
    status, said = compare()
    assert status == 0
    assert "no test clip in common" in said.out
    assert "+0.000" not in said.out
    # The same files with the opposite labels.
    change(manifest, {"sha256": lambda content: content[::-1]})
    change(scores, {"label": lambda label: str(1 - int(label))})
    status, said = compare()
    assert status == 2
    assert f"{tested} clips of equal content have opposite labels" in said.err
    manifest.unlink()
    status, said = compare()
    assert status == 2
    assert "the manifest of" in said.err


def test_interrupted_scoring_keeps_what_is_finished(
    tmp_path, workspace, pushed_model, monkeypatch, capfd
):
    data = tmp_path / "data"
    data.mkdir()
    for clip in sorted((workspace.data / "Celeb-real").glob("*.mp4"))[:4]:
        shutil.copy(clip, data)
    (data / "broken.mp4").write_bytes(b"no video")
    asked = []
    honest = clip_scoring.ExampleScorer.rows

    def interrupted(self, records):
        asked.append(len(records))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return honest(self, records)

    monkeypatch.setattr(clip_scoring.ExampleScorer, "rows", interrupted)
    # Each of these clips of three crops by itself.
    monkeypatch.setattr(clip_scoring, "_CROPS_AT_ONCE", 3)
    target = tmp_path / "scores.parquet"
    arguments = ["score", "--model", str(pushed_model), "--data", str(data)]
    arguments += ["--output", str(target)]
    assert main(arguments) == 130
    assert not target.exists()
    assert "the same command goes on" in capfd.readouterr().out
    assert main(arguments) == 4, "the broken clip has no score"
    # Two clips were finished, the third was not; the broken one has nothing to score.
    assert len(asked) == 3 + 2
    table = pd.read_parquet(target).set_index("clip_id")
    assert len(table) == 5
    assert table["score"].notna().sum() == 4
    assert "no video" in table.loc["broken.mp4", "reason"]
    assert table.loc["broken.mp4", "crops"] == 0
    assert table.loc["broken.mp4", "verdict"] == ""
    scored = table[table["score"].notna()]
    assert set(scored["verdict"]) == {NOT_A_VERDICT}
    assert NOT_A_VERDICT in capfd.readouterr().out, "what the words mean is said"


def test_dataset_of_one_class_is_measured_as_far_as_it_goes(
    tmp_path, workspace, pushed_model, capfd
):
    data = tmp_path / "data"
    (data / "fake").mkdir(parents=True)
    (data / "real").mkdir()
    for clip in sorted((workspace.data / "Celeb-synthesis").glob("*.mp4"))[:2]:
        shutil.copy(clip, data / "fake")
    request = ScoringRequest(str(pushed_model), str(data), str(tmp_path / "out"))
    assert evaluate_model(request) == 0
    said = capfd.readouterr().out
    assert "holds only fake clips: AUC and all that needs both classes are not measured" in said
    assert "not measured (no real one: both classes are needed)" in said
    assert (tmp_path / "out" / "report.html").exists()


def test_crops_of_another_cut_are_warned_about(pushed_model, workspace):
    request = ScoringRequest(str(pushed_model), str(workspace.data), "", precropped=True)
    (warning,) = _warnings(Manifest(str(workspace.data), "folder", ()), request)[-1:]
    assert "the model wants crops that this project cuts" in warning


def test_model_that_wants_given_crops_is_not_applied_to_videos(pushed_model):
    model_card = card.read(pushed_model)
    model_card.extraction["precropped"] = True
    with pytest.raises(UsageError, match="--precropped"):
        model_card.crop_settings()
    assert model_card.crop_settings(precropped=True).precropped
    model_card.extraction["tilt"] = 3
    with pytest.raises(UsageError, match="tilt"):
        model_card.crop_settings()


@pytest.mark.parametrize("command", ["evaluate", "score"])
def test_model_without_our_metadata(tmp_path, workspace, command, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"")
    arguments = ["--model", str(tmp_path / "model"), "--data", str(workspace.data)]
    assert main([command, *arguments, "--output", str(tmp_path / "x.parquet")]) == 2
    assert "not exported by this pipeline" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report", "{tmp}"], "holds no report"),
        (["compare", "{tmp}", "{tmp}"], "holds no report"),
        (["score", "--model", "{model}", "--data", "{tmp}", "--output", "{tmp}/x.csv"], ".parquet"),
        (
            ["score", "--model", "{model}", "--data", "{tmp}", "--output", "{tmp}/o/x.parquet"],
            "{tmp}",
        ),
        (
            ["evaluate", "--model", "{model}", "--data", "{tmp}/no", "--output", "{tmp}/o"],
            "{tmp}/no",
        ),
    ],
)
def test_wrong_usage_is_said_in_a_sentence(tmp_path, pushed_model, arguments, words, capsys):
    known = {"tmp": str(tmp_path), "model": str(pushed_model)}
    assert main([one.format(**known) for one in arguments]) == 2
    said = capsys.readouterr().err
    assert words.format(**known) in said
    assert "Traceback" not in said
