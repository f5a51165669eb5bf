"""Comparing two runs by what is beside their reports; no model is needed."""

import dataclasses
import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from components.evaluation import results
from components.evaluation.measurement import measure_split
from components.evaluation.scores import CROP_COLUMNS
from components.report.compare import compare_runs
from preprocessing.datasets.clip import Clip
from preprocessing.manifest.manifest import Manifest
from preprocessing.support.errors import UsageError


def make_run(folder, names, contents, labels, logits=None):
    """What `deepfake evaluate` leaves of these clips, as far as comparing reads it."""
    rows = [
        {
            "clip_id": name,
            "pair_id": name,
            "dataset": "folder",
            "method": "fake" if label else "real",
            "identity": "",
            "label": label,
            "track_id": 0,
            "frame_index": 0,
            "face_size": 100.0,
            "logit": logit,
            "score": 0.5,
        }
        for name, label, logit in zip(
            names, labels, np.linspace(-2, 2, len(names)) if logits is None else logits, strict=True
        )
    ]
    crops = pd.DataFrame(rows, columns=CROP_COLUMNS)
    evaluation = folder / "clip_evaluation"
    evaluation.mkdir(parents=True)
    results.write_scores(evaluation, "test", crops)
    clips = tuple(
        Clip(name, label, "folder", "fake" if label else "real", sha256=content, split="test")
        for name, label, content in zip(names, labels, contents, strict=True)
    )
    manifest = Manifest(str(folder), "folder", clips, ())
    manifest.write_csv(folder / "manifest.csv")
    report = {
        "name": folder.name,
        "dataset": {"digest": manifest.digest},
        "sources": {
            "clip_evaluation": str(evaluation),
            "manifest": str(folder / "manifest.csv"),
            "root": str(folder),
        },
        "splits": {"test": measure_split(crops, 0).to_dict()},
    }
    (folder / "report.json").write_text(json.dumps(report))
    return str(folder)


NAMES = [f"{kind}/{number}.mp4" for number in range(4) for kind in ("real", "fake")]
LABELS = [0, 1] * 4
CONTENTS = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(8)]


def test_equal_names_of_other_contents_are_not_compared(tmp_path):
    """Two made datasets, two users' folders: their names say nothing about their clips."""
    first = make_run(tmp_path / "a", NAMES, CONTENTS, LABELS)
    second = make_run(tmp_path / "b", NAMES, [c[::-1] for c in CONTENTS], LABELS[::-1])
    found = compare_runs(first, second)
    assert found.result is None
    assert found.remarks[0] == "The two runs are of different data."
    assert found.remarks[1].startswith("They have no test clip in common")
    assert "+0.000" not in found.text()
    assert "Compared on" not in found.text()


def test_a_run_of_an_earlier_version_is_compared_by_the_measures_that_it_has(tmp_path):
    first = make_run(tmp_path / "a", NAMES, CONTENTS, LABELS)
    second = make_run(tmp_path / "b", NAMES, [c[::-1] for c in CONTENTS], LABELS)
    path = tmp_path / "a" / "report.json"
    report = json.loads(path.read_text())
    del report["splits"]["test"]["clips"][0]["metrics"]["brier"]
    path.write_text(json.dumps(report))
    compared = compare_runs(first, second)
    assert compared.result is None
    for text in (compared.text(), compared.html()):
        assert "Log loss" in text
        assert "Brier score" not in text


def test_equal_contents_of_other_names_are_compared_without_contradiction(tmp_path):
    first = make_run(tmp_path / "a", NAMES, CONTENTS, LABELS)
    order = np.random.default_rng(0).permutation(8)
    second = make_run(
        tmp_path / "b",
        [f"renamed/{number}.avi" for number in range(8)],
        [CONTENTS[number] for number in order],
        [LABELS[number] for number in order],
        np.linspace(-2, 2, 8)[order],
    )
    found = compare_runs(first, second)
    assert found.result["clips"] == 8
    assert found.result["metrics"]["auc"]["value"] == 0.0
    assert found.remarks == [
        "The data of the two runs differs, but not in the content of the test clips.",
        "Compared on the same 8 test clips, by content.",
    ]
    assert compare_runs(first, first).remarks == ["Compared on the same 8 test clips, by content."]


def test_names_of_datasets_and_methods_may_be_numbers(tmp_path):
    run = make_run(tmp_path / "a", NAMES, CONTENTS, LABELS)
    for level in ("crops", "clips"):
        table = tmp_path / "a" / "clip_evaluation" / f"test_{level}.csv"
        text = table.read_text().replace(",folder,fake,", ",2024,1,")
        table.write_text(text.replace(",folder,real,", ",2024,0,"))
        assert "folder" not in table.read_text()
    assert compare_runs(run, run).result["clips"] == 8


def test_only_shared_contents_are_compared(tmp_path):
    first = make_run(tmp_path / "a", NAMES, CONTENTS, LABELS)
    second = make_run(tmp_path / "b", NAMES[:7], [*CONTENTS[:6], "f" * 64], LABELS[:7], np.zeros(7))
    found = compare_runs(first, second)
    assert found.result["clips"] == 6
    assert found.remarks == [
        "The two runs are of different data.",
        "Compared on the 6 test clips that both have, by content; 2 of the first and 1 of the "
        "second are left out.",
    ]


def test_one_content_with_opposite_labels_is_refused(tmp_path):
    first = make_run(tmp_path / "a", NAMES, CONTENTS, LABELS)
    second = make_run(tmp_path / "b", NAMES, CONTENTS, [1, 1, *LABELS[2:]])
    with pytest.raises(
        UsageError, match=r"^1 clips of equal content have opposite labels"
    ) as error:
        compare_runs(first, second)
    assert f"real/0.mp4 of {first} (real) and real/0.mp4 of {second} (fake)" in str(error.value)


def test_copies_within_a_run_count_once(tmp_path):
    first = make_run(
        tmp_path / "a", [*NAMES, "real/copy.mp4"], [*CONTENTS, CONTENTS[0]], [*LABELS, 0]
    )
    second = make_run(tmp_path / "b", NAMES, CONTENTS, LABELS)
    found = compare_runs(first, second)
    assert found.result["clips"] == 8
    assert "1 test clips are copies of others in the same run, and left out." in found.remarks


def test_without_hashes_nothing_is_compared(tmp_path):
    first = make_run(tmp_path / "a", NAMES, CONTENTS, LABELS)
    (tmp_path / "a" / "manifest.csv").unlink()
    with pytest.raises(UsageError, match=f"the manifest of {first} is gone"):
        compare_runs(first, first)


def test_clips_that_no_manifest_knows_are_like_no_other(tmp_path):
    runs = []
    for name in ("a", "b"):
        run = make_run(tmp_path / name, NAMES, CONTENTS, LABELS)
        manifest = Manifest.read_csv(tmp_path / name / "manifest.csv", run)
        kept = dataclasses.replace(manifest, clips=manifest.clips[1:])
        kept.write_csv(tmp_path / name / "manifest.csv")
        runs.append(run)
    found = compare_runs(*runs)
    assert (found.result["clips"], found.result["only_candidate"]) == (7, 1)
