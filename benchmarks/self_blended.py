"""Measures a detector that was trained on pseudo-fakes alone.

    python -m benchmarks.self_blended [--quick] [--output DIR]

The whole pipeline on `faceforensics_mini`, official split: real crops of train and pseudo-fakes
made of them train NASNetMobile from scratch, real crops of val and theirs choose the epoch and the
calibration, and the test split's fakes, of four methods, are what it is asked about. Without that
folder (see DEEPFAKE_TEST_MEDIA) the demo's clips, whose fakes are themselves self-blended.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

# Before anything imports TensorFlow, which else prints pages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks._harness import Figure, finish, media, parser
from pipeline.config import load_config, override_of
from pipeline.run import run

# The demo's way of training from scratch, on other data. A model is wanted, not a gate.
_OVERRIDES = (
    "model.backbone=nasnet_mobile",
    "model.weights=none",
    "model.input=residual",
    "model.dropout=0.0",
    "training.pseudo_fakes=self_blended",
    "training.batch_size=16",
    "training.head_epochs=0",
    "training.epochs=3",
    "training.steps_per_epoch=30",
    "training.learning_rate=1e-3",
    "training.batch_norm=momentum",
    "training.recalibration_steps=8",
    "training.augmentation=standard",
    "evaluation.gate.min_accuracy=0.0",
    "evaluation.gate.min_auc=0.0",
    "evaluation.clip_gate.min_accuracy=0.0",
    "evaluation.clip_gate.min_auc=0.0",
)


def main() -> None:
    """Measures, and prints what was found."""
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--output", default="runs/benchmark-self-blended")
    options = arguments.parse_args()
    folder = media("faceforensics_mini")
    overrides = [*_OVERRIDES, override_of("output", str(Path(options.output).resolve()))]
    if folder:
        overrides.append(override_of("data.dir", str(folder)))
    if options.quick:
        overrides += ["model.backbone=tiny", "extraction.frames_per_clip=8"]
    preset = "faceforensics" if folder else "demo"
    status = run(load_config(preset, overrides))
    if status:
        raise SystemExit(status)
    summary = json.loads((Path(options.output) / "summary.json").read_text())
    auc = summary["clips"]["auc"]
    finish(
        "self_blended",
        {
            "clip_auc": Figure(auc["value"]),
            "clip_auc_low": Figure(auc["low"]),
            "clip_auc_high": Figure(auc["high"]),
            "frame_auc": Figure(summary["metrics"]["auc"]),
        },
    )


if __name__ == "__main__":
    main()
