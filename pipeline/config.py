"""The configuration of a run: assembled from sections, read from YAML, typos refused.

    config = load_config("demo", overrides=["training.epochs=2"])

Numbers that matter live in the sections (or in a preset), each with its reason and its range; a
section stands beside what it configures. Nothing in this module imports TensorFlow or TFX, so that
the command line can refuse a bad configuration at once.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

import yaml
from pydantic import Field, field_validator, model_validator

from components.evaluation.config import EvaluationConfig
from components.serving_check.config import ServingConfig
from components.trainer.config import ModelConfig, TrainingConfig, check_training
from components.tuner.config import TunerConfig, check_tuner
from pipeline.beam_runner import check_beam
from pipeline.config_values import DuplicateKey, override, quoted, read_yaml
from pipeline.kubeflow.config import KubeflowConfig
from pipeline.metadata_address import MySQL
from preprocessing.datasets.data_config import DataConfig
from preprocessing.faces.crop_settings import ExtractionConfig
from preprocessing.support.errors import UsageError
from preprocessing.support.nearest import nearest
from preprocessing.support.section import Section, Seed, Text, Texts, validated
from serving.model.rates import Rates

PRESET_DIR = Path(__file__).parent / "presets"


class Config(Section):
    """Everything one run needs."""

    name: Text = Field(
        "deepfake", description="Name of the pipeline: letters, digits, `-` and `_`."
    )
    output: Text = Field(
        "",
        description="Folder of everything a run writes: artifacts, metadata, logs, pushed models.",
    )
    seed: Seed = Field(
        1, description="Of training (weights, shuffling, augmentation) and of the split."
    )
    data: DataConfig = DataConfig()
    extraction: ExtractionConfig = ExtractionConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    tuner: TunerConfig = TunerConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    verdict: Rates = Field(
        Rates(),
        description="The card of the model holds them, so another value makes the Trainer run "
        "again.",
    )
    serving: ServingConfig = ServingConfig()
    kubeflow: KubeflowConfig = KubeflowConfig()
    beam: Texts = Field(
        (),
        description="Beam's runner and its options: runner, job_endpoint, environment_type, "
        "environment_config and parallelism, as in runner=portable,job_endpoint=HOST:8099, or any "
        "other argument of Beam's, as in --project=NAME. A prefix such as Transform: limits an "
        "entry to that node. Empty: in this process.",
    )
    metadata: Text = Field(
        "",
        description="Metadata store of local runs: a file of SQLite, or "
        "mysql://USER@HOST:PORT/DATABASE with the password in DEEPFAKE_METADATA_PASSWORD; empty: "
        "metadata/metadata.sqlite below `output`.",
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        # Folders and, in Kubeflow, resources have this name.
        if not name or not name.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"{name!r} may hold only letters, digits, '-' and '_'")
        return name

    @field_validator("metadata")
    @classmethod
    def _check_metadata(cls, metadata: str) -> str:
        MySQL.parse(metadata)
        return metadata

    @field_validator("beam")
    @classmethod
    def _check_beam(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        check_beam(texts)
        return texts

    @model_validator(mode="after")
    def _check_sections(self) -> Config:
        check_training(self.model, self.training)
        check_tuner(self.tuner, self.model.backbone)
        return self


def presets() -> list[str]:
    """Names of the presets, sorted."""
    return sorted(path.stem for path in PRESET_DIR.glob("*.yaml"))


def load_config(preset: str, overrides: Iterable[str] = ()) -> Config:
    """Reads a preset or a YAML file and applies overrides.

    Args:
      preset: name of a preset, or path of a YAML file (it ends in .yaml or .yml).
      overrides: `section.key=value` each, in order; values are YAML.

    Returns:
      The checked configuration.

    Raises:
      UsageError: no such preset or file, YAML that cannot be read or holds a key twice, a key that
        does not exist (the nearest known one is named), or a value of the wrong type or range.
    """
    if preset.endswith((".yaml", ".yml")):
        path = Path(preset)
        if not path.is_file():
            raise UsageError(f"configuration file {preset} does not exist")
    else:
        path = PRESET_DIR / f"{preset}.yaml"
        if not path.is_file():
            raise UsageError(
                f"there is no preset {preset!r}{nearest(preset, presets())}; presets are "
                f"{', '.join(presets())}; a file of your own must end in .yaml"
            )
    try:
        values = read_yaml(path.read_text(encoding="utf-8")) or {}
    except DuplicateKey as error:
        raise UsageError(f"{path}: {error}; the first would be lost, join the two") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid YAML: {error}") from error
    overrides = list(overrides)
    for change in overrides:
        override(Config, values, change, where=str(path))
    changed = {change.partition("=")[0].strip() for change in overrides}

    def read_from(key: str) -> str:
        """The file, unless a value that the error is about was set by an override."""
        within = f"{key}." if key else ""
        return "" if any(name == key or name.startswith(within) for name in changed) else str(path)

    return validated(Config, values, where=read_from, from_yaml=True)


def config_from_environment() -> Config:
    """The configuration of entry points that get no arguments; see local_runner.py.

    Raises:
      UsageError: as `load_config`, or DEEPFAKE_SET has a quotation mark without its other.
    """
    env = os.environ
    try:
        overrides = shlex.split(env.get("DEEPFAKE_SET", ""))
    except ValueError as error:
        raise UsageError(
            f"DEEPFAKE_SET: {env['DEEPFAKE_SET']!r} is not divided into KEY=VALUE as a shell "
            f"divides words: {error}"
        ) from error
    for variable, key in (("DEEPFAKE_DATA", "data.dir"), ("DEEPFAKE_OUTPUT", "output")):
        if env.get(variable):
            overrides.append(override_of(key, env[variable]))
    return load_config(env.get("DEEPFAKE_CONFIG", "demo"), overrides)


def override_of(key: str, value: str) -> str:
    """An override that sets `key` to exactly this text, whatever YAML would make of it."""
    return f"{key}={quoted(value)}"
