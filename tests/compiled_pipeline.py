"""Compiled pipelines of small configurations."""

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
    failures="/mnt/deepfake/out/face-store-failures-0123456789abcdef.json",
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


def make_volume(folder: Path) -> Path:
    """A dataset, in the folder `data`, whose clips hold no pictures: it can be indexed."""
    for label in ("real", "fake"):
        (folder / "data" / label).mkdir(parents=True)
        for number in range(8):
            (folder / "data" / label / f"{number}.mp4").write_bytes(f"{label} {number}".encode())
    return folder


def compile_arguments(volume: Path, target: str, *more: str, output: str = "out") -> list[str]:
    """Of `deepfake compile` and `deepfake submit`: the volume is mounted here elsewhere."""
    places = ["--data", volume / "data", "--output", volume / output]
    places += ["--set", f"kubeflow.local_mount={volume}"]
    if target == "vertex":
        places += ["--set", "kubeflow.mount_path=/gcs/bucket/deepfake"]
    return [str(word) for word in ("--target", target, "--image", IMAGE, *places, *more)]


def error_of(capsys) -> str:
    """The one sentence on standard error."""
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line
