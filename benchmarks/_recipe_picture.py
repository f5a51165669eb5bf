"""The curves of both recipes in one picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sklearn.metrics import roc_curve

if TYPE_CHECKING:
    from benchmarks.recipe import Scored

_COLORS = {"ours": "tab:blue", "seed": "tab:red"}
_LABELS = {"ours": "ours", "seed": "the seed's recipe"}


def draw(runs: dict[tuple[str, str], list[Scored]], path: Path) -> None:
    """Writes a PNG: for each dataset val AUC per epoch, and ROC on test; one line per seed.

    Args:
      runs: by dataset and recipe.
      path: of the picture; its folder is made.
    """
    # Not pyplot: it would look for a screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    datasets = list(dict.fromkeys(data for data, _ in runs))
    figure = Figure(figsize=(10, 4.2 * len(datasets)), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(datasets), 2, squeeze=False)
    for data, (left, right) in zip(datasets, rows, strict=True):
        for name, color in _COLORS.items():
            scored = runs[data, name]
            mean = sum(run.auc for run in scored) / len(scored)
            for number, run in enumerate(scored):
                label = {"label": f"{_LABELS[name]}, mean AUC {mean:.3f}"} if not number else {}
                epochs = [row["epoch"] for row in run.history]
                aucs = [row["val_auc"] for row in run.history]
                left.plot(epochs, aucs, color=color, marker="o", alpha=0.7)
                fpr, tpr, _ = roc_curve(run.labels, run.logits)
                right.plot(fpr, tpr, color=color, alpha=0.7, **label)
        left.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
        left.set(
            title=f"{data} set: val",
            xlabel="epoch",
            ylabel="AUC per crop",
            ylim=(0.3, 1.02),
            xticks=epochs,
        )
        right.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
        right.set(
            title=f"{data} set: test, persons not trained on",
            xlabel="false positive rate",
            ylabel="true positive rate",
        )
        right.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
