"""The curves of `benchmarks.real_faces` in one picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sklearn.metrics import roc_curve

if TYPE_CHECKING:
    from benchmarks._face_scores import Result

_NAMES = {"celeb_df": "Celeb-DF v2, test", "dfdc": "DFDC, val"}


def draw(results: dict[str, list[Result]], path: Path) -> None:
    """Writes a PNG: val AUC per epoch, and ROC per clip on both sets; one line per training.

    Args:
      results: by row.
      path: of the picture; its folder is made.
    """
    # Not pyplot: it would look for a screen.
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 5), layout="constrained")
    FigureCanvasAgg(figure)
    left, *right = figure.subplots(1, 1 + len(_NAMES))
    for number, (row, trainings) in enumerate(results.items()):
        color = colormaps["tab10"](number)
        for seed, result in enumerate(trainings):
            label = {"label": row} if not seed else {}
            epochs = range(1, len(result.history) + 1)
            left.plot(epochs, result.history, color=color, marker="o", alpha=0.8, **label)
            for axes, name in zip(right, _NAMES, strict=True):
                fpr, tpr, _ = roc_curve(*result.on[name].by_clip())
                axes.plot(fpr, tpr, color=color, alpha=0.8)
    left.set(title="val", xlabel="epoch", ylabel="AUC per clip", ylim=(0.4, 1.0))
    left.legend(loc="lower right")
    for axes, title in zip(right, _NAMES.values(), strict=True):
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
        axes.set(title=title, xlabel="false positive rate", ylabel="true positive rate")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
