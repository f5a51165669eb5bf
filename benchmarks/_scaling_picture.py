"""Draws the curves of `benchmarks.scaling`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.scaling import Cost


def draw(costs: list[Cost], path: Path) -> None:
    """Seconds and peaks of memory of the nodes over the number of crops, both logarithmic.

    Args:
      costs: runs, in order of crops.
      path: of the PNG.
    """
    # Not pyplot: it would look for a screen.
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    crops = [cost.crops for cost in costs]
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    colours = colormaps["tab20"]
    for number, node in enumerate(costs[-1].seconds):
        style = {"marker": "o", "markersize": 3, "color": colours(number), "label": node}
        right.plot(crops, [cost.megabytes[node] for cost in costs], **style)
        left.plot(crops, [max(cost.seconds[node], 0.01) for cost in costs], **style | {"label": ""})
    total = [sum(cost.seconds.values()) for cost in costs]
    left.plot(crops, total, color="black", linewidth=2, label="together")
    proportional = [total[0] * count / crops[0] for count in crops]
    left.plot(crops, proportional, color="grey", linestyle=":", label="proportional")
    for axes, title in ((left, "seconds"), (right, "peak memory of the process, MB")):
        axes.set(xscale="log", xlabel="face crops", title=title)
        axes.set_xticks(crops, [f"{count:,}" for count in crops])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    left.set_yscale("log")
    right.set_ylim(bottom=0)
    left.legend(fontsize=8)
    # Of both: there is room below the curves.
    right.legend(fontsize=8, ncols=3, loc="lower center")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
