"""Validation clips that give a model the thresholds that a test wants."""

from __future__ import annotations

from serving.model.thresholds import Thresholds

RATES = {"false_positive_rate": 0.01, "miss_rate": 0.05}


def make_thresholds(fake_above: float | None = 2.0, real_below: float | None = 0.0) -> Thresholds:
    """Thresholds at these logits, and the usual rates."""
    return Thresholds(0.01, 0.05, fake_above, real_below, 400, 300, 200, 100)


def conformal(fake_above: float, real_below: float) -> dict:
    """Section `conformal` of a card from which `make_thresholds` follows at the usual rates."""
    return {
        "split": "val",
        "real": {"values": [fake_above] * 100, "cluster_sizes": [1] * 100},
        "fake": {"values": [real_below] * 100, "cluster_sizes": [1] * 100},
    }


# What a model card holds at least.
CARD = {
    "version": 1,
    "input_size": 64,
    "positive_class": "fake",
    "temperature": 1.0,
    "backbone": "tiny",
}
