"""The page of a run: what it says, and that nothing in it can break."""

import html
import json
import math
import re
import xml.etree.ElementTree as ElementTree

import jinja2
import numpy as np
import pandas as pd
import pytest
from serving_support.words import CARD

from components.evaluation import results
from components.evaluation.bounds import AT_MOST, Bound, BoundResult
from components.evaluation.measurement import measure_split
from components.evaluation.scores import CROP_COLUMNS, clip_tables
from components.report import background, charts
from components.report.build import build
from components.report.curves import confusion, curves
from components.report.data import Sources
from components.report.mistakes import Mistake, occlusion, worst
from components.report.page import Pictures, render
from components.report.templating import fill
from serving.model import card
from serving.model.verdict import NOT_A_VERDICT, DecisionRule


def crops(**changes) -> pd.DataFrame:
    """Twelve clips of two crops; the first real and the first fake are confidently wrong."""
    rng = np.random.default_rng(0)
    rows = []
    for clip in range(12):
        label = clip % 2
        logit = (6.0 if clip < 2 else -1.0) * (-1 if label else 1) + rng.normal()
        for frame in range(2):
            rows.append(
                {
                    "clip_id": f"{'swap' if label else 'real'}/<b>{clip}&.mp4",
                    "pair_id": f"real/{clip - label}.mp4",
                    "dataset": "made",
                    "method": "swap" if label else "real",
                    "identity": f"p{clip // 2}",
                    "label": label,
                    "track_id": 0,
                    "frame_index": frame,
                    "face_size": 90.0,
                    "logit": logit + frame,
                    "score": 0.5,
                    **changes,
                }
            )
    return pd.DataFrame(rows, columns=CROP_COLUMNS)


def data(table: pd.DataFrame) -> dict:
    clips = clip_tables(table)[1]
    labels, logits = clips["label"].to_numpy(), clips["logit"].to_numpy()
    one_class = len(set(labels)) < 2
    return {
        "name": "a <run>",
        "title": "",
        "created": "today",
        "blessed": False,
        "gate": [
            {
                "level": "clip",
                "slice": "",
                "metric": "auc",
                "bound": 0.9,
                "value": None,
                "held": False,
                "reason": "no real one",
            }
        ],
        "dataset": None,
        "extraction": None,
        "history": [
            {"epoch": 1.0, "loss": 0.7, "val_loss": 0.6, "val_auc": 0.5, "accuracy": 0.5},
        ],
        "splits": {"test": measure_split(table, 100).to_dict()},
        "curves": None if not len(clips) else curves(labels, logits),
        "confusion": [{"name": "0.5", "threshold": 0.5, **confusion(labels, logits, 0.0)}],
        "comparison": None,
        "model": {"backbone": "tiny", "input_size": 64, "temperature": 1.0},
        "warning": "",
        "config": {},
        "one_class": one_class,
    }


def test_page_needs_nothing_from_elsewhere_and_escapes_what_it_is_told():
    table = crops()
    found = worst(table, *clip_tables(table), n=2)
    text = render(data(table), Pictures(mistakes=found))
    assert "a &lt;run&gt;" in text
    assert "<run>" not in text
    assert "&lt;b&gt;0&amp;.mp4" in text
    assert "<b>0&" not in text
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!["']?data:)""", text)
    assert "<script" not in text
    assert "refused by the gate" in text
    assert "not measured: no real one" in text


def test_a_model_of_made_data_calls_nothing_fake_or_real_without_the_warning():
    table = crops()
    found = worst(table, *clip_tables(table), n=2)
    content = data(table)
    plain = render(content, Pictures(mistakes=found))
    called = [line for line in plain.splitlines() if re.search("called (real|fake)", line)]
    assert len(called) > 2
    assert NOT_A_VERDICT not in plain.lower()

    provenance = {"name": "n", "summary": "a <model>", "trained_on": [], "made_data": True}
    content["warning"] = DecisionRule(made_data=True).warning
    content["model"]["provenance"] = provenance
    text = render(content, Pictures(mistakes=found))
    assert f"<b>{NOT_A_VERDICT.capitalize()}.</b>" in text
    assert "n: a &lt;model&gt;" in text
    # Axes and legends of charts name what was measured, in one line each.
    lines = re.sub("<svg.*?</svg>", "", text, flags=re.S).splitlines()
    called = [line for line in lines if re.search("called (real|fake)", line)]
    assert called
    assert all(NOT_A_VERDICT in line for line in called)


@pytest.mark.parametrize(
    ("bound", "value", "cells"),
    [
        (Bound("auc", 0.9), 0.89974, ["≥ 0.9000", "0.8997", "not held"]),
        (Bound("brier", 0.0004, relation=AT_MOST), 0.00036, ["≤ 0.00040", "0.00036", "held"]),
        (Bound("auc", 0.9), 0.95, ["≥ 0.900", "0.950", "held"]),
    ],
)
def test_the_gate_shows_digits_that_tell_value_and_bound_apart(bound, value, cells):
    content = {**data(crops()), "gate": [BoundResult.of("clip", bound, "", value, "").as_json()]}
    text = render(content, Pictures())
    (row,) = (line for line in _rows(text) if line[0] == bound.metric.replace("auc", "AUC"))
    assert row[2:] == cells


def _rows(page: str) -> list[list[str]]:
    """The texts of the cells of the first table."""
    table = ElementTree.fromstring(re.search("<table.*?</table>", page, re.S)[0])
    return [["".join(cell.itertext()) for cell in row.iter("td")] for row in table.iter("tr")][1:]


def test_the_configuration_is_what_was_trained_with():
    """A Tuner's values replace those that the run was given."""
    content = data(crops())
    given = {"learning_rate": 0.25, "epochs": 3}
    content["config"] = {"name": "r", "model": {"dropout": 0.5}, "training": given, "tuner": {}}
    content["model"]["training"] = {**given, "learning_rate": 0.125}
    shown = _configuration(render(content, Pictures()))
    assert shown["training"] == {"learning_rate": 0.125, "epochs": 3}
    assert shown["model"] == {"dropout": 0.5}, "a card without the section says nothing of it"
    assert list(shown) == sorted(content["config"])
    assert _configuration(render({**content, "config": {}}, Pictures())) == content["model"]


def _configuration(page: str) -> dict:
    return json.loads(
        html.unescape(re.search("Configuration</summary><pre>(.*?)</pre>", page, re.S)[1])
    )


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ("wrong", "The frame that spoke"),
        ("right", "No test clip is on the wrong side"),
        ("not a number", "Not looked for: no test"),
    ],
)
def test_mistakes_are_denied_only_where_they_were_looked_for(tmp_path, scores, words):
    table = crops()
    if scores == "right":
        table["logit"] = np.where(table["label"], 3.0, -3.0)
    if scores == "not a number":
        table.loc[0, "logit"] = math.nan
    model, evaluation = tmp_path / "model", tmp_path / "evaluation"
    (model / card.FILE).parent.mkdir(parents=True)
    evaluation.mkdir()
    (model / "saved_model.pb").touch()
    (model / card.FILE).write_text(json.dumps(CARD))
    results.write_scores(evaluation, "test", table)
    results.write(evaluation, {"test": measure_split(table, 100)}, [], None)
    page = build(Sources("r", str(model), str(evaluation)), tmp_path / "report").read_text()
    assert ('<div class="pair">' in page) is (scores == "wrong")
    said = {"The frame that spoke", "No test clip is on the wrong side", "Not looked for: no test"}
    assert [text for text in said if text in page] == [words]


def test_a_measure_that_an_earlier_version_did_not_have_is_left_out():
    content = data(crops())
    for level in ("clips", "crops"):
        for part in content["splits"]["test"][level]:
            del part["metrics"]["brier"]
    text = render(content, Pictures())
    assert "Log loss" in text
    assert "Brier score" not in text


def test_a_value_that_a_template_lacks_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="names"):
        fill("comparison.html.j2", remarks=[], rows=[])


def test_cells_of_a_table_are_labelled_and_escaped():
    rows = [["<i>AUC</i>", "0.5", "", {"text": "a & b", "css": "bad"}]]
    text = fill("comparison.html.j2", names=("x", 'a "b"'), remarks=["<p>"], rows=rows)
    root = ElementTree.fromstring(re.search("<table.*</table>", text, re.S)[0])
    cells = root.findall(".//td")
    assert [cell.get("data-label") for cell in cells] == ["Measure", "x", 'a "b"', "Difference"]
    assert [cell.get("class") for cell in cells] == [None, "n", "n", "n"]
    # Empty cells are really empty, since the style hides those on a narrow screen.
    assert [cell.text for cell in cells] == ["<i>AUC</i>", "0.5", None, None]
    assert (cells[3][0].get("class"), cells[3][0].text) == ("bad", "a & b")
    assert '<p class="note">&lt;p&gt;</p>' in text


def test_every_chart_is_well_formed():
    text = render(data(crops()), Pictures())
    drawn = re.findall(r"<svg.*?</svg>", text, re.S)
    assert len(drawn) > 7
    for one in drawn:
        root = ElementTree.fromstring(one)
        for value in root.iter():
            assert not any(
                "nan" in v or "inf" in v for v in value.attrib.values() if "aria" not in v
            )


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_draws_what_it_can(label):
    table = crops()
    text = render(data(table[table["label"] == label]), Pictures())
    assert "both classes are needed" in text
    assert "ROC" not in text
    assert "Reliability" in text


def test_mistakes_are_the_most_confident_ones_with_the_frame_that_decided():
    table = crops()
    found = worst(table, *clip_tables(table), n=1)
    assert [one.row["clip_id"] for one in found] == ["real/<b>0&.mp4", "swap/<b>1&.mp4"]
    # The logit grows with the frame: the last speaks most for fake, the first for real.
    assert [one.row["frame_index"] for one in found] == [1, 0]
    right = table.assign(logit=np.where(table["label"], 3.0, -3.0))
    assert worst(right, *clip_tables(right), n=1) == []


def test_occlusion_map_is_highest_where_blurring_lowers_the_logit():
    import cv2

    pixels = np.full((60, 60, 3), 128, np.uint8)
    pixels[10:20, 40:50] = np.random.default_rng(0).integers(0, 256, (10, 10, 3))
    jpeg = cv2.imencode(".png", pixels)[1].tobytes()

    def grain(pictures):
        decoded = [cv2.imdecode(np.frombuffer(p, np.uint8), cv2.IMREAD_GRAYSCALE) for p in pictures]
        return np.array([cv2.Laplacian(one, cv2.CV_64F).std() for one in decoded])

    occlusion_map = occlusion(jpeg, grain)
    assert np.unravel_index(np.argmax(occlusion_map), occlusion_map.shape) == (1, 4)
    mistake = Mistake(crops().iloc[0].to_dict(), jpeg, occlusion_map)
    text = render(data(crops()), Pictures([mistake]))
    assert text.count("data:image/jpeg") == 2


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.69, 0.70), (0.0, 0.031), (1, 12), (0, 5e6), (-3, 2)]
)
def test_ticks_are_few_round_and_inside(low, high):
    ticks = charts._ticks(low, high)
    assert 3 <= len(ticks) <= 11
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    steps = np.diff(ticks)
    assert np.allclose(steps, steps[0])
    assert f"{steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9):.1f}" in (
        "1.0",
        "2.0",
        "2.5",
        "5.0",
    )


def test_epochs_have_no_halves():
    drawn = charts.lines({"val": [(1, 0.5), (2, 0.6)]}, "epoch", "loss")
    labels = re.findall(r'text-anchor="middle">([^<]*)<', drawn)
    assert labels[:2] == ["1", "2"]
    assert labels[2] == "epoch"


def _calibration_row(**calibration) -> str:
    """What the model card of a report says of the calibration."""
    model = {**data(crops())["model"], "offset": 0.0, "calibration": calibration}
    return dict(background.card(model))["Calibration"]


def test_the_calibration_says_which_fakes_it_was_fitted_on():
    clips = {"real": 30, "fake": 40}
    assert "fitted on the 30 real and 40 fake clips of val," in _calibration_row(**clips)
    ordinary = _calibration_row(**clips, blended_fakes=False)
    assert ordinary == _calibration_row(**clips)
    blended = _calibration_row(**clips, blended_fakes=True)
    assert "fitted on the 30 real clips of val and 40 fakes blended from them," in blended


def test_a_val_of_one_class_calibrated_nothing():
    assert _calibration_row(real=0, fake=4) == "not calibrated: val has no real clip"
    assert _calibration_row(real=4, fake=0) == "not calibrated: val has no fake clip"


def test_training_without_a_measurable_auc_leaves_that_panel_out():
    rows = [
        {"epoch": epoch, "loss": 0.5, "val_loss": 0.6, "val_auc": float("nan")} for epoch in (1, 2)
    ]
    drawn = str(background.training(rows))
    assert "Loss" in drawn
    assert "AUC" not in drawn
    assert "nan" not in drawn.lower()
