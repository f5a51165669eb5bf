"""What training leaves behind for people: a table and curves of its epochs."""

from __future__ import annotations

import csv
import io
from typing import Any

import tensorflow as tf


def write_history(rows: list[dict[str, Any]], folder: str) -> None:
    """Writes `history.csv` and `curves.png`.

    Args:
      rows: one dict per epoch, all with the same keys (see callbacks.BestEpoch).
      folder: made if need be; may be remote.
    """
    tf.io.gfile.makedirs(folder)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    with tf.io.gfile.GFile(f"{folder}/history.csv", "w") as file:
        file.write(text.getvalue())
    with tf.io.gfile.GFile(f"{folder}/curves.png", "wb") as file:
        file.write(_draw(rows))


def _draw(rows: list[dict[str, Any]]) -> bytes:
    # Not pyplot: its global state would outlive this node in a pipeline's process.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    FigureCanvasAgg(figure)
    panels = {
        "loss": {"loss": "train", "val_loss": "val"},
        "accuracy": {"accuracy": "train", "val_accuracy": "val", "val_clip_accuracy": "val, clips"},
        "AUC": {"val_auc": "val", "val_clip_auc": "val, clips"},
        "learning rate": {"learning_rate": "end of epoch"},
    }
    epochs = [row["epoch"] for row in rows]
    for axes, (title, curves) in zip(figure.subplots(2, 2).flat, panels.items(), strict=True):
        for key, name in curves.items():
            axes.plot(epochs, [row[key] for row in rows], marker="o", label=name)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
