"""The pipeline on real clips in the layouts of real datasets, whatever the gate says."""

import html
import json

import pytest

from pipeline.config import load_config
from pipeline.run import run
from serving.model import card

pytestmark = pytest.mark.slow

TINY = (
    "model.backbone=tiny",
    "model.weights=none",
    "model.input=residual",
    "training.batch_norm=momentum",
    "training.head_epochs=0",
    "training.epochs=1",
    "training.batch_size=8",
    "training.recalibration_steps=2",
    "extraction.frames_per_clip=4",
)


@pytest.mark.parametrize(
    ("preset", "folder", "overrides", "clips", "reported"),
    [
        ("faceforensics", "faceforensics_mini", (), 47, 0),
        # Four clips in three parts: by part there is no training set with both classes.
        ("dfdc", "dfdc_mini", ("data.split=identity",), 4, 0),
        # 35 pictures of 24 clips. One of a clip's two has a broken checksum, and is left out.
        ("folder", "celeb_df_crops", ("data.split=official", "data.precropped=true"), 24, 0),
    ],
)
def test_runs_end_to_end_and_counts_add_up(
    tmp_path, media, preset, folder, overrides, clips, reported
):
    places = [f"data.dir={json.dumps(str(media / folder))}", f"output={json.dumps(str(tmp_path))}"]
    status = run(load_config(preset, [*TINY, *places, *overrides]))
    assert status in (0, 3)
    summary = json.loads((tmp_path / "summary.json").read_text())
    counts = summary["extraction"]
    assert counts["clips"] == clips
    assert counts["clips_reported"] == reported == sum(counts["reasons"].values())
    assert counts["clips"] == counts["clips_with_faces"] + counts["clips_reported"]
    assert summary["metrics"]["example_count"] == counts["splits"]["test"]["crops"] > 0
    assert bool(summary["pushed"]) == (status == 0)


def test_fine_tuning_goes_on_from_the_starter(tmp_path, media):
    """With the preset as it is, but for the number of steps and crops of a step."""
    places = [
        f"data.dir={json.dumps(str(media / 'celeb_df_crops'))}",
        f"output={json.dumps(str(tmp_path))}",
    ]
    small = ["training.epochs=1", "training.steps_per_epoch=4", "training.batch_size=8"]
    assert run(load_config("fine_tune", [*places, *small, "data.split=official"])) in (0, 3)
    (model,) = tmp_path.glob("artifacts/Trainer/model/*/Format-Serving")
    started_from = card.read(model).provenance.started_from
    assert started_from.startswith("the weights of starter, which learnt from Celeb-DF v2")
    (report,) = tmp_path.glob("artifacts/Report/report/*/report.html")
    assert f"Its training started from {started_from}. " in html.unescape(report.read_text())
    summary = json.loads((tmp_path / "summary.json").read_text())
    # The starter's features tell most of them apart; a new network's would not, after four steps.
    assert summary["metrics"]["auc"] > 0.8
