"""Calibration errors of the benchmarks: by chance, and at a share of fakes."""

import numpy as np
import pytest

from benchmarks._calibration import chance_error
from benchmarks._face_scores import Scores


def test_chance_error_is_that_of_labels_drawn_by_their_scores():
    logits = np.random.default_rng(0).normal(0, 2, 100_000)
    assert chance_error(logits, draws=3) < 0.01
    few = chance_error(logits[:300])
    assert 0.03 < few < 0.08, "few scores err by chance"


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_scores_calibrated_where_half_are_fake_have_no_error_once_they_know_the_share(share):
    rng = np.random.default_rng(1)
    count = 100_000
    labels = (rng.random(count) < share).astype(np.int64)
    # Unit Gaussians at -1 and 1 have the logit 2x where half of them are of either class.
    logits = 2 * (rng.normal(0, 1, count) + 2 * labels - 1)
    clips = np.arange(count)
    scores = Scores(labels, logits, logits, clips, clips, labels[:9], logits[:9])
    error, by_chance = scores.clip_error_at_share()
    assert error < 0.01
    assert by_chance < 0.01
    if share != 0.5:
        assert scores.clip_error > 0.05


def test_scores_are_calibrated_on_the_val_of_their_own_set():
    rng = np.random.default_rng(2)
    count = 20_000
    labels = (rng.random(2 * count) < 0.8).astype(np.int64)
    # Far from calibrated: too steep, and moved.
    logits = 6 * (rng.normal(0, 1, 2 * count) + 2 * labels - 1) - 4
    test, val = slice(count), slice(count, None)
    clips = np.arange(count)
    scores = Scores(
        labels[test], logits[test], logits[test], clips, clips, labels[val], logits[val]
    )
    assert scores.clip_error > 0.1
    assert scores.clip_error_after_val < 0.02
