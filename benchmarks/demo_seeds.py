"""Measures how far the demo's detector depends on its random draws.

    python -m benchmarks.demo_seeds [--quick] [--output DIR]

The demo preset on three seeds (with --quick on two). They share data, faces and everything before
the Trainer. Held-out AUC of each seed, per crop and per clip, on 40 synthetic persons that training
does not contain.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

# Before anything imports TensorFlow, which else prints pages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks._harness import Figure, finish, parser
from pipeline.config import load_config, override_of
from pipeline.run import run


def main() -> None:
    """Measures, and prints what was found."""
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--output", default="runs/benchmark-demo-seeds")
    options = arguments.parse_args()
    output = Path(options.output).resolve()
    figures: dict[str, Figure] = {}
    for seed in (1, 2) if options.quick else (1, 2, 3):
        # Each seed stands for itself: it is not compared with the model of the seed before it.
        overrides = [override_of("output", str(output)), f"seed={seed}"]
        status = run(load_config("demo", [*overrides, "evaluation.gate.max_auc_drop=1.0"]))
        if status:
            raise SystemExit(status)
        summary = json.loads((output / "summary.json").read_text())
        figures[f"crop_auc_seed_{seed}"] = Figure(summary["metrics"]["auc"], ">= 0.8")
        figures[f"clip_auc_seed_{seed}"] = Figure(summary["clips"]["auc"]["value"], ">= 0.8")
    finish("demo_seeds", figures)


if __name__ == "__main__":
    main()
