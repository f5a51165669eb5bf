"""Spliced clips, put together from tables of scored crops that were written by hand."""

import numpy as np
import pandas as pd
import pytest

from benchmarks._spliced import spliced_figures
from preprocessing.extraction import face_example as names

FRAMES = 10


def _clip(name, original, label, logits):
    return pd.DataFrame(
        {
            names.CLIP_ID: name,
            names.PAIR_ID: original,
            names.DATASET: "made",
            names.IDENTITY: original,
            names.LABEL: label,
            names.TRACK_ID: 0,
            names.FRAME_INDEX: np.arange(FRAMES),
            names.TIMESTAMP_MS: 40 * np.arange(FRAMES),
            "logit": logits,
        }
    )


def _table(rng, persons, fake_logit):
    clips = []
    for number in range(persons):
        clips.append(_clip(f"r{number}", f"r{number}", 0, rng.normal(-3, 0.1, FRAMES)))
        clips.append(_clip(f"f{number}", f"r{number}", 1, rng.normal(fake_logit, 0.1, FRAMES)))
    return pd.concat(clips, ignore_index=True)


def _figures(fake_logit):
    rng = np.random.default_rng(0)
    val, test = _table(rng, 30, fake_logit), _table(rng, 8, fake_logit)
    figures = spliced_figures(val, test, FRAMES)
    return {name: figure.value for name, figure in figures.items()}


def test_a_detector_that_knows_each_frame_finds_each_part():
    figures = _figures(3.0)
    assert figures["spliced_pairs"] == 8
    assert figures["spliced_auc_of_whole_fakes"] == 1.0
    for share in ("20", "40"):
        assert figures[f"spliced_{share}_percent_window_auc_over_whole"] == 1.0
        assert figures[f"spliced_{share}_percent_segments_found"] == 1.0


def test_a_detector_that_knows_nothing_finds_nothing():
    figures = _figures(-3.0)
    assert figures["spliced_auc_of_whole_fakes"] == pytest.approx(0.5, abs=0.25)
    for share in ("20", "40"):
        assert figures[f"spliced_{share}_percent_segments_found"] <= 0.2
