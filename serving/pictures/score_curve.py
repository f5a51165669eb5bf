"""Draws the scores of tracks over time."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from serving.model.verdict import Verdict


def score_curve(verdict: Verdict) -> bytes:
    """The scores of a file's tracks over time, as PNG, 1200 pixels wide.

    A point for each face that was judged, a line for each track; dashed, the scores beyond which
    the model says fake or real; shaded, the segments. Where the file tells no times, the axis is
    the number of the frame.

    Args:
      verdict: verdict on the file, with at least one track.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    axes = figure.add_subplot()
    timed = all(moment.seconds is not None for track in verdict.tracks for moment in track.timeline)
    for track in sorted(verdict.tracks, key=lambda track: track.track):
        times = np.array(
            [moment.seconds if timed else moment.frame for moment in track.timeline], np.float64
        )
        scores = [moment.score for moment in track.timeline]
        axes.plot(times, scores, marker="o", markersize=3, label=f"track {track.track}")
    # Of a model of made data neither segments nor thresholds mean anything.
    real_data = not verdict.decision_rule.made_data
    for part in verdict.parts.segments if verdict.parts and real_data else ():
        limits = (part.start, part.end) if timed else (part.first_frame, part.last_frame)
        axes.axvspan(*limits, color="tab:red", alpha=0.15)
    thresholds = verdict.decision_rule.thresholds
    if thresholds is not None and real_data:
        for name, score in (("fake", thresholds.fake_above), ("real", thresholds.real_below)):
            if score is not None:
                axes.axhline(score, linestyle="--", linewidth=1, color="0.4")
                side = "above" if name == "fake" else "below"
                axes.annotate(
                    f"{name} {side}", (0.995, score), xycoords=("axes fraction", "data"),
                    ha="right", va="bottom", fontsize=8, color="0.3",
                )  # fmt: skip
    axes.set(ylim=(-0.03, 1.03), ylabel="P(fake)", xlabel="seconds" if timed else "frame")
    axes.grid(alpha=0.3)
    if len(verdict.tracks) > 1:
        axes.legend(loc="upper left", fontsize=8)
    with io.BytesIO() as file:
        FigureCanvasAgg(figure).print_png(file)
        return file.getvalue()
