"""Checks this machine: what it has, what is missing, and what each thing is needed for."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from preprocessing.support.memory_limit import memory_limit
from preprocessing.support.quiet import quiet
from preprocessing.support.versions import TFX, has_pipeline, supported_tfx, tensorflow_build

# What answers: all that there is without the extra `pipeline`.
_ANSWERING = (
    "serving.gateway.app",
    "serving.gateway.examiner",
    "serving.server.server",
    "serving.pictures.annotation",
    "preprocessing.faces.face_cropper",
    "pipeline.prediction.run",
)
# Every node of the DAG, ours and TFX's, and the runners.
_RUNNING = (
    "components.face_extractor.component",
    "tfx.components.statistics_gen.component",
    "tfx.components.schema_gen.import_schema_gen.component",
    "components.example_validator.component",
    "tfx.components.transform.component",
    "components.transform.preprocessing",
    "tfx.components.tuner.component",
    "components.tuner.tuner_fn",
    "tfx.components.trainer.component",
    "components.trainer.run_fn",
    "tfx.dsl.components.common.resolver",
    "components.blessed_model.strategy",
    "components.blessed_model.component",
    "components.evaluator.component",
    "components.clip_evaluator.component",
    "components.report.component",
    "tfx.components.infra_validator.component",
    "components.serving_check.component",
    "tfx.components.pusher.component",
    "tfx.orchestration.local.local_dag_runner",
    "tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner",
)
# To run, and to answer.
_FREE_DISK_GB = 5
_FREE_MEMORY_GB = {True: 6, False: 2}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the doctor's answer.

    Attributes:
      state: "ok", "missing" (something optional) or "broken" (a run cannot work).
      name: name of what was checked.
      detail: sentence with what was found, what it is needed for, and what to do.
    """

    state: str
    name: str
    detail: str


def examine() -> Iterator[Finding]:
    """Looks at everything, cheap things first."""
    yield _python()
    if has_pipeline():
        yield _disk()
    yield _memory()
    yield from _packages()
    yield from _programs()
    yield _sandbox()
    # Loads TensorFlow, so it comes late.
    yield from _imports()
    yield _gpu()


def _python() -> Finding:
    version = platform.python_version()
    system = f"{version} on {platform.system()} {platform.machine()}"
    tfx = supported_tfx()
    if tfx is None:
        supported = ", ".join(f"TFX {TFX[key]} on {key[0]}.{key[1]}" for key in sorted(TFX))
        return Finding("broken", "python", f"{system}; there is {supported}: run `make env`")
    return Finding("ok", "python", f"{system}, for TFX {tfx}")


def _disk() -> Finding:
    free = shutil.disk_usage(".").free / 1e9
    state = "ok" if free >= _FREE_DISK_GB else "broken"
    return Finding(state, "disk", f"{free:.0f} GB free here; a run wants {_FREE_DISK_GB} GB")


def _memory() -> Finding:
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as file:
            values = dict(line.split(":", 1) for line in file)
        free = int(values["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        pass
    gigabytes = min(free, memory_limit() or free) / 1e9
    running = has_pipeline()
    wanted = _FREE_MEMORY_GB[running]
    state = "ok" if gigabytes >= wanted else "broken"
    what = "training NASNetMobile wants" if running else "server and gateway want"
    return Finding(state, "memory", f"{gigabytes:.1f} GB available; {what} {wanted} GB")


def _packages() -> Iterator[Finding]:
    """Compares what is installed with what setup.py pins."""
    try:
        requirements = importlib.metadata.requires("deepfake-detection") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("broken", "deepfake-detection", "is not installed: run `make env`")
        return
    extra = "pipeline" if has_pipeline() else ""
    for text in requirements:
        requirement = Requirement(text)
        # The other extras are for developers, and each Python has its own pins.
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name, pinned = requirement.name, str(requirement.specifier).removeprefix("==")
        try:
            installed = importlib.metadata.version(
                tensorflow_build() if name == "tensorflow" else name
            )
        except importlib.metadata.PackageNotFoundError:
            yield Finding("broken", name, f"is not installed; {pinned} is pinned: run `make env`")
            continue
        if installed == pinned:
            yield Finding("ok", name, installed)
        else:
            yield Finding("broken", name, f"{installed}, but {pinned} is pinned: run `make env`")


def _sandbox() -> Finding:
    """Starts a decoding child and lets it try what the sandbox forbids."""
    from preprocessing.media.decoder import Decoder
    from preprocessing.media.media_errors import DecodingFailed

    need = "keeps a media file that takes the decoder over from other files, network and processes"
    try:
        with Decoder() as decoder:
            active = decoder.sandbox()
    except DecodingFailed as error:
        return Finding("missing", "decoder sandbox", f"{error}; it {need}")
    return Finding("ok", "decoder sandbox", f"{'; '.join(active)} (tried); it {need}")


def _programs() -> Iterator[Finding]:
    answer = _output(["docker", "version", "--format", "{{.Server.Version}}"])
    need = "needed only for containers (Kubeflow images, TensorFlow Serving's image)"
    if answer:
        yield Finding("ok", "docker engine", f"{answer}; {need}")
    else:
        yield Finding("missing", "docker engine", f"none answers; {need}")
    need = "needed only for Beam on Flink or Spark"
    java = shutil.which("java")
    yield Finding("ok" if java else "missing", "java", f"{java or 'not found'}; {need}")


def _imports() -> Iterator[Finding]:
    for module in (*_ANSWERING, *(_RUNNING if has_pipeline() else ())):
        try:
            # TensorFlow's log lines and libraries' notes on each other's futures are no findings.
            with quiet():
                importlib.import_module(module)
        except Exception as error:  # An import can fail in any way; each way is a finding.
            yield Finding("broken", module, f"{type(error).__name__}: {error}")
        else:
            yield Finding("ok", module, "imports")


def _gpu() -> Finding:
    import tensorflow as tf

    with quiet():
        names = [device.name for device in tf.config.list_physical_devices("GPU")]
    need = "needed to fine-tune NASNetLarge in hours instead of weeks; the demo needs none"
    if names:
        return Finding("ok", "gpu", f"{', '.join(names)}; {need}")
    return Finding("missing", "gpu", f"TensorFlow sees none; {need}")


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
