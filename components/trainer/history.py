"""Writes the history of a training: a table and curves of its epochs."""

from __future__ import annotations

import csv
import io
from typing import Any

import keras
import tensorflow as tf


class EpochSummaries(keras.callbacks.Callback):
    """Writes each epoch's row for TensorBoard.

    Args:
      folder: of the event files; may be remote.
      rows: of BestEpoch, which must stand before this callback.
    """

    def __init__(self, folder: str, rows: list[dict[str, Any]]):
        super().__init__()
        self._folder = folder
        self._rows = rows
        self._written = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes the epoch's row, and those that a killed training left."""
        self.write()

    def write(self) -> None:
        """Writes the rows that are new."""
        if self._written == len(self._rows):
            return
        for group in ("train", "val"):
            writer = tf.summary.create_file_writer(f"{self._folder}/{group}")
            with writer.as_default():
                for row in self._rows[self._written :]:
                    for key, value in row.items():
                        if isinstance(value, float) and key.startswith("val_") == (group == "val"):
                            tf.summary.scalar(key.removeprefix("val_"), value, step=row["epoch"])
            writer.close()
        self._written = len(self._rows)


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
