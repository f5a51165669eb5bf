"""Compares the scores and distances of two tables of `deepfake score`, for `deepfake drift`."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.evaluation.bounds import digits_apart
from components.evaluation.drift import KS, MIN_VALUES, PSI, Drift, drift
from preprocessing.support.errors import UsageError
from preprocessing.support.files import refuse_bucket
from serving.model import card

# Column of the table -> what people call it. Logits order clips as scores do, and those of
# confident models are not rounded to 1.
QUANTITIES = {"logit": "score", "distance": "familiarity"}
STEADY, DRIFTED = 0, 3


@dataclasses.dataclass(frozen=True)
class Sample:
    """Clips of a table, or of a model card.

    Attributes:
      name: name of the sample, for messages.
      values: quantity -> float [clips with a score], finite.
      unscored: share of the rows without a score; None for a model card.
    """

    name: str
    values: dict[str, np.ndarray]
    unscored: float | None = None


def compare_scores(
    tables: Sequence[str], model: str | None, max_psi: float, max_ks: float, as_json: bool
) -> int:
    """Prints how far the distributions are apart.

    Args:
      tables: .parquet files: the reference and what is compared with it; beside a model the latter
        alone.
      model: folder of a model, whose card's validation clips are the reference.
      max_psi: limit of the population stability index.
      max_ks: limit of Kolmogorov-Smirnov's statistic.
      as_json: print JSON instead of a table.

    Returns:
      The exit status: DRIFTED where an interval lies above its limit, else STEADY.

    Raises:
      UsageError: a wrong number of tables, a file that is no such table, too few clips, or a limit
        that is NaN, infinite or below 0.
    """
    for option, limit in (("--max-psi", max_psi), ("--max-ks", max_ks)):
        if not 0 <= limit < math.inf:
            raise UsageError(f"{option}: {limit} is no limit; give a number from 0 on")
    if len(tables) != (1 if model else 2):
        raise UsageError(
            f"{len(tables)} tables are given; give --scores twice, the reference first, or once "
            "with --model, whose validation clips are the reference then"
        )
    samples = [read_table(path) for path in tables]
    reference, current = [read_card(model), *samples] if model else samples
    limits = {PSI: max_psi, KS: max_ks}
    drifts: list[Drift] = []
    for quantity in reference.values.keys() & current.values.keys():
        pair = reference.values[quantity], current.values[quantity]
        for sample, values in zip((reference, current), pair, strict=True):
            if len(values) < MIN_VALUES:
                raise UsageError(
                    f"{sample.name} holds {len(values)} clips with a {quantity}, and {MIN_VALUES} "
                    "are needed to compare distributions; score more clips"
                )
        drifts += drift(quantity, *pair, limits)
    drifts.sort(key=lambda row: (row.quantity != "score", row.measure != PSI))
    form = _json if as_json else comparison_table
    print(form(reference, current, drifts))
    return DRIFTED if any(row.drifted for row in drifts) else STEADY


def read_table(path: str) -> Sample:
    """A table that `deepfake score` wrote.

    Raises:
      UsageError: it is none.
    """
    import pandas as pd

    refuse_bucket(path, "download it", "--scores")
    try:
        table = pd.read_parquet(path)
        logits = table["logit"].to_numpy(float)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{path} is no table of `deepfake score` ({error}); score the clips into one with "
            "--output"
        ) from error
    scored = np.isfinite(logits)
    values = {}
    for column, quantity in QUANTITIES.items():
        if column in table:
            column_values = table[column].to_numpy(float)[scored]
            finite = np.isfinite(column_values)
            # Models of earlier versions give no distances.
            if column == "logit" or finite.any():
                values[quantity] = column_values[finite]
    return Sample(path, values, float(1.0 - scored.mean()) if len(table) else 0.0)


def read_card(model: str) -> Sample:
    """The validation clips of a model card, of both classes as they are there.

    Raises:
      UsageError: no model of this project, or a card without validation clips.
    """
    model_card = card.read(model)
    if model_card.conformal is None:
        raise UsageError(
            f"the card of {model} holds no validation clips, because an earlier version exported "
            "the model; give a table of scores as the reference instead"
        )
    clips = model_card.conformal
    values = {"score": np.array([*clips.real.values, *clips.fake.values])}
    if model_card.familiarity is not None:
        values["familiarity"] = np.array(model_card.familiarity.distances.values)
    return Sample(f"val of {Path(model)}", values)


def comparison_table(reference: Sample, current: Sample, rows: Sequence[Drift]) -> str:
    """The rows, the size of the samples, and what one of them lacks.

    Args:
      reference: sample that was compared with.
      current: sample that was compared.
      rows: rows of `drift`.
    """
    cells = [("", "measure", "value", "95% interval", "limit", ""), *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    layout = "  ".join(f"{{:{side}{width}}}" for side, width in zip("<<><><", widths, strict=True))
    lines = [layout.format(*line).rstrip() for line in cells]
    for sample in (reference, current):
        counts = ", ".join(f"{len(values)} {name}" for name, values in sample.values.items())
        without = "" if sample.unscored is None else f"; {sample.unscored:.1%} without a score"
        lines.append(f"{sample.name}: {counts or 'no clip with a score'}{without}")
    absent = [
        name
        for name in QUANTITIES.values()
        if name not in reference.values or name not in current.values
    ]
    lines += [f"not compared, because one of them lacks it: {name}" for name in absent]
    return "\n".join(lines)


def _cells(row: Drift) -> tuple[str, ...]:
    """The texts of a row, with as many digits as tell its value and low end from the limit."""
    digits = max(digits_apart(number, row.limit) for number in (row.value, row.low))
    value, low, high, limit = (
        f"{number:.{digits}f}" for number in (row.value, row.low, row.high, row.limit)
    )
    word = "DRIFTED" if row.drifted else ""
    return row.quantity, row.measure, value, f"[{low}, {high}]", limit, word


def _json(reference: Sample, current: Sample, drifts: Sequence[Drift]) -> str:
    samples = {
        key: {
            "name": sample.name,
            "clips": {name: len(values) for name, values in sample.values.items()},
            "unscored": sample.unscored,
        }
        for key, sample in (("reference", reference), ("current", current))
    }
    rows = [{**dataclasses.asdict(row), "drifted": row.drifted} for row in drifts]
    return json.dumps({**samples, "drift": rows}, indent=1)
