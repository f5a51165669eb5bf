"""The whole pipeline, for real: what runs, what is served from the cache, what is pushed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.workspace import Workspace, executed

from pipeline.pipeline import models_folder
from preprocessing.manifest.manifest import Manifest
from serving.model import card
from serving.model.verdict import NOT_A_VERDICT

pytestmark = pytest.mark.integration

NODES = {
    "FaceExtractor",
    "StatisticsGen",
    "ImportSchemaGen",
    "ExampleValidator",
    "Transform",
    "Trainer",
    "Evaluator",
    "ClipEvaluator",
    "ServingCheck",
    "Pusher",
    "Report",
}
# What runs again with every new model.
JUDGING = {"Evaluator", "ClipEvaluator", "ServingCheck", "Pusher", "Report"}
ROOT = Path(__file__).parents[2]


def versions(workspace: Workspace) -> list[str]:
    folder = models_folder(workspace.config())
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def stored_times(workspace: Workspace) -> dict[Path, int]:
    """Every finished clip of the face store with the time it was written."""
    store = workspace.output / "face-store"
    return {path: path.stat().st_mtime_ns for path in store.rglob("*.tfrecord")}


def test_first_run_executes_all_and_pushes_a_complete_model(workspace, first_run):
    status, summary = first_run
    assert status == 0
    assert set(summary["nodes"]) == NODES
    assert executed(summary) == NODES
    assert set(summary["seconds"]) == NODES
    # Steps of gradient descent take longer than copying a model.
    assert summary["seconds"]["Trainer"] > summary["seconds"]["Pusher"] > 0
    pushed = Path(summary["pushed"])
    assert pushed.parent == models_folder(workspace.config())
    assert (pushed / "saved_model.pb").stat().st_size > 0
    assert (pushed / "variables" / "variables.index").exists()
    assert (pushed / "assets.extra" / "tf_serving_warmup_requests").exists()
    served = summary["serving_check"]
    assert served["crops"] > 0
    assert served["warmup_requests"] > 0
    assert max(served["largest_difference"].values()) <= 1e-4
    assert summary["refused_by"] == {}
    assert summary["warning"].startswith(NOT_A_VERDICT)


def test_the_pushed_model_knows_that_its_data_was_made(workspace, pushed_model):
    found = card.read(pushed_model).provenance
    assert found.made_data
    assert found.name == "demo"
    (one,) = found.trained_on
    (path,) = (
        p for p in (workspace.output / "inputs").glob("manifest-*.csv") if "problems" not in p.name
    )
    train = [c for c in Manifest.read_csv(path, workspace.data).clips if c.split == "train"]
    fake = sum(clip.label for clip in train)
    assert (one.dataset, one.split) == ("demo", "train")
    assert (one.clips_real, one.clips_fake) == (len(train) - fake, fake)
    assert one.persons == len({person for clip in train for person in clip.identities})


def test_every_clip_is_accounted_for(workspace, first_run):
    _, summary = first_run
    counts = summary["extraction"]
    # 15 identities with a real and a fake clip each, and the real clips of YouTube-real.
    listed = sum(path.suffix == ".mp4" for path in workspace.data.rglob("*"))
    assert counts["clips"] == listed >= 30
    assert counts["clips"] == counts["clips_with_faces"] + counts["clips_reported"]
    assert counts["crops"] == sum(split["crops"] for split in counts["splits"].values()) > 0
    assert summary["metrics"]["example_count"] == counts["splits"]["test"]["crops"]


def test_manifest_leaks_nothing(workspace, first_run):
    (path,) = (
        p for p in (workspace.output / "inputs").glob("manifest-*.csv") if "problems" not in p.name
    )
    manifest = Manifest.read_csv(path, workspace.data)
    splits_of: dict[str, set[str]] = {}
    for clip in manifest.clips:
        for identity in clip.identities:
            splits_of.setdefault(identity, set()).add(clip.split)
    assert len(splits_of) >= 15
    assert {identity for identity, splits in splits_of.items() if len(splits) > 1} == set()


def test_second_run_computes_nothing(workspace, first_run):
    before = versions(workspace)
    status, summary = workspace.run()
    assert status == 0
    assert executed(summary) == set()
    assert versions(workspace) == before


def test_gate_that_cannot_be_met_pushes_nothing_and_exits_with_3(workspace, first_run):
    before = versions(workspace)
    status, summary = workspace.run("evaluation.gate.min_auc=1.0")
    assert status == 3
    assert executed(summary) == JUDGING
    assert summary["pushed"] == ""
    assert not summary["blessed"]
    refused = [row for row in summary["gate"] if not row["held"]]
    assert [(row["metric"], row["bound"]) for row in refused] == [("auc", 1.0)]
    assert list(summary["refused_by"]) == ["gate"]
    assert "the gate refused the model" in summary["serving_check"]["skipped"]
    assert versions(workspace) == before


def test_model_that_is_too_slow_as_a_server_is_not_pushed_and_exits_with_3(
    workspace, first_run, capfd
):
    before = versions(workspace)
    status, summary = workspace.run("serving.max_latency_ms=0.001")
    assert status == 3
    assert executed(summary) == {"ServingCheck", "Pusher", "Report"}
    assert summary["blessed"]
    assert not summary["pushed"]
    assert list(summary["refused_by"]) == ["serving check"]
    assert "ms are allowed" in summary["refused_by"]["serving check"][0]
    table = capfd.readouterr().out
    assert "nothing: refused by the serving check" in table
    assert "ms at the 95th percentile" in table
    assert "refused by the serving check" in Path(summary["page"]).read_text()
    assert versions(workspace) == before


def test_training_value_retrains_and_is_compared_with_the_blessed_model(workspace, first_run):
    before = versions(workspace)
    status, summary = workspace.run("training.learning_rate=0.0005")
    assert status == 0
    assert executed(summary) == JUDGING | {"Trainer"}
    assert "auc against the last blessed model" in {row["metric"] for row in summary["gate"]}
    assert len(versions(workspace)) == len(before) + 1
    # And a second run of it finds the same baseline, hence computes nothing.
    assert executed(workspace.run("training.learning_rate=0.0005")[1]) == set()


def test_tuner_searches_and_the_trainer_takes_its_values(workspace, first_run):
    status, summary = workspace.run(
        "tuner.enabled=true",
        "tuner.trials=1",
        "tuner.epochs=1",
        "tuner.learning_rate=[1e-4,9e-4]",
        "tuner.augmentation=[none]",
    )
    assert status == 0
    assert executed(summary) == {"Tuner", "Trainer", *JUDGING}
    trained = card.read(summary["pushed"]).training
    assert 1e-4 < trained["learning_rate"] < 9e-4
    assert trained["augmentation"] == "none"


def test_changed_clip_is_extracted_again_and_all_that_follows(tmp_path, workspace, first_run):
    changed = Workspace(tmp_path / "data", tmp_path / "out")
    shutil.copytree(workspace.data, changed.data)
    shutil.copytree(workspace.output / "face-store", changed.output / "face-store")
    victim = min((changed.data / "Celeb-real").glob("*.mp4"))
    victim.write_bytes(b"no video any more")
    store = stored_times(changed)
    status, summary = changed.run()
    assert status == 0
    assert executed(summary) == NODES
    counts = summary["extraction"]
    assert counts["clips_reported"] == 1
    assert list(counts["reasons"].values()) == [1]
    after = stored_times(changed)
    assert len(after) == len(store) + 1, "only the changed clip may be extracted"
    assert {path: time for path, time in after.items() if path in store} == store


def test_changed_trainer_code_retrains_and_comments_do_not(tmp_path, workspace, first_run):
    """A copy of the sources with an edited file, run as `python local_runner.py` there."""
    # Models that other tests pushed since have this one's judged once more, against the newest.
    workspace.run()
    for name in ("components", "pipeline", "preprocessing", "serving"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "local_runner.py", tmp_path)
    edits = ("# A comment.", "_EDIT = 'code that changes nothing but itself'")
    code = (
        "import json, sys\n"
        f"sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT / 'tests')!r}]\n"
        "import components\n"
        "from e2e import workspace\n"
        f"assert components.__file__.startswith({str(tmp_path)!r}), components.__file__\n"
        "from pathlib import Path\n"
        f"data, output = Path({str(workspace.data)!r}), Path({str(workspace.output)!r})\n"
        "space = workspace.Workspace(data, output)\n"
        f"edited = Path({str(tmp_path)!r}) / 'components' / 'trainer' / 'calibration.py'\n"
        f"for edit in {edits!r}:\n"
        "    edited.write_text(edited.read_text() + '\\n' + edit + '\\n')\n"
        "    status, summary = space.run()\n"
        "    print('RESULT', json.dumps([status, sorted(workspace.executed(summary))]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    results = [line[7:] for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    expected = [[0, []], [0, sorted(JUDGING | {"Trainer"})]]
    assert list(map(json.loads, results)) == expected, done.stdout + done.stderr
