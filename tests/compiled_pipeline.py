"""The compiled pipeline of a small configuration, for tests that need no data."""

from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.inputs import Inputs

IMAGE = "registry.example/deepfake-detection:0.1.0"
INPUTS = Inputs(
    manifest="/mnt/deepfake/out/inputs/manifest-0123456789abcdef.csv",
    manifest_digest="0123456789abcdef" * 4,
    root="/mnt/deepfake/data",
    schema="/mnt/deepfake/out/inputs/schema-0123456789abcdef/schema.pbtxt",
)


def compile_to(path: Path, *overrides: str, inputs: Inputs = INPUTS, preset: str = "folder"):
    """Writes the package (.yaml) or the job (.json) of a preset; returns the path."""
    from pipeline import compilation, pipeline

    config = load_config(preset, ["output=/mnt/deepfake/out", *overrides])
    with pytest.MonkeyPatch.context() as patch:
        # Any edit of the code changes its digest; the golden file shows changes of the wiring.
        patch.setattr(pipeline, "node_code", lambda node, *chosen: "digest-of-the-code")
        job = compilation.compile_job(config, inputs, IMAGE)
    compilation.write(path, job, config.kubeflow)
    return path
