"""`deepfake run`."""

from __future__ import annotations

from pipeline.commands._options import Beam, Data, Output, Overrides, Preset, configuration


def run(
    preset: Preset = "folder",
    data: Data = None,
    output: Output = None,
    overrides: Overrides = None,
    beam: Beam = None,
) -> int:
    """From videos to a gated, pushed model.

    Runs the whole pipeline here; with --beam the work of its Beam nodes elsewhere.

    Exit status: 0 pushed, 3 refused by the gate or the serving check, 2 wrong usage, data or
    configuration, 1 failure.
    """
    config = configuration(preset, overrides, data, output, beam=beam)
    from pipeline.run import run as run_pipeline

    return run_pipeline(config)
