"""Builds the DAG: the only place where nodes are wired."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tfx import types
from tfx.components.pusher.component import Pusher
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.components.trainer.component import Trainer
from tfx.components.transform.component import Transform
from tfx.components.tuner.component import Tuner
from tfx.dsl.components.base import base_node
from tfx.dsl.components.common import resolver
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.proto import pusher_pb2, trainer_pb2, transform_pb2
from tfx.types import standard_artifacts

from components.blessed_model.component import BlessedModel
from components.blessed_model.strategy import BlessedOtherThanCandidate
from components.clip_evaluator.component import ClipEvaluator
from components.evaluation.eval_config import make_eval_config
from components.evaluator.component import Evaluator
from components.example_validator.component import ExampleValidator
from components.face_extractor.component import FaceExtractor
from components.report.component import Report
from components.serving_check.component import ServingCheck
from components.trainer.backbones.base import backbone_of
from components.trainer.backbones.weights import weights_digest
from components.trainer.config import image_size_of
from pipeline import metadata_store
from pipeline.beam_runner import beam_args
from pipeline.cache_keys import node_code
from pipeline.config import Config
from pipeline.infra_validation import make_infra_validator
from pipeline.inputs import Inputs, face_store_of
from pipeline.kubeflow.names import artifacts_root, pipeline_name
from preprocessing.datasets.clip import SPLITS
from preprocessing.faces.crop_settings import CropSettings
from preprocessing.support.files import place


@dataclasses.dataclass(frozen=True)
class _Data:
    """The nodes from clips to records that training may trust."""

    extractor: FaceExtractor
    statistics: StatisticsGen
    schema: ImportSchemaGen
    validator: ExampleValidator
    transform: Transform

    @property
    def examples(self) -> types.BaseChannel:
        return self.extractor.outputs["examples"]

    @property
    def nodes(self) -> list[base_node.BaseNode]:
        return [self.extractor, self.statistics, self.schema, self.validator, self.transform]


@dataclasses.dataclass(frozen=True)
class _Learning:
    """The nodes that make the candidate, and the one that finds what it is compared with."""

    tuners: list[Tuner]
    trainer: Trainer
    baseline: base_node.BaseNode

    @property
    def model(self) -> types.BaseChannel:
        return self.trainer.outputs["model"]

    @property
    def nodes(self) -> list[base_node.BaseNode]:
        return [*self.tuners, self.trainer, self.baseline]


@dataclasses.dataclass(frozen=True)
class _Judging:
    """The nodes that bless the candidate; each wants the blessing of the one before."""

    evaluator: Evaluator
    clip_evaluator: ClipEvaluator
    infra_validators: list[base_node.BaseNode]
    serving_check: ServingCheck

    @property
    def nodes(self) -> list[base_node.BaseNode]:
        return [self.evaluator, self.clip_evaluator, *self.infra_validators, self.serving_check]


def create_pipeline(
    config: Config, inputs: Inputs, kubeflow: bool = False
) -> tfx_pipeline.Pipeline:
    """Wires FaceExtractor to Pusher.

    Args:
      config: the run's configuration.
      inputs: inputs that `pipeline.inputs.prepare` made of it.
      kubeflow: True leaves out what Kubeflow Pipelines does not run: resolver nodes (BlessedModel
        finds the baseline instead) and the local metadata store.

    Returns:
      The pipeline, for any TFX runner.
    """
    data = _data(config, inputs)
    learning = _learning(config, inputs, data, kubeflow)
    judging = _judging(config, data, learning)
    pusher = _pusher(config, learning, judging)
    report = _report(config, inputs, data, learning, judging)
    # What cannot be drawn may still be pushed.
    report.add_upstream_node(pusher)
    return tfx_pipeline.Pipeline(
        pipeline_name=pipeline_name(config.name) if kubeflow else config.name,
        pipeline_root=artifacts_root(config.kubeflow, config.output)
        if kubeflow
        else f"{config.output}/artifacts",
        components=[*data.nodes, *learning.nodes, *judging.nodes, pusher, report],
        enable_cache=True,
        metadata_connection_config=None if kubeflow else metadata_store.connection(config),
    )


def _data(config: Config, inputs: Inputs) -> _Data:
    extractor = FaceExtractor(
        manifest=inputs.manifest,
        manifest_digest=inputs.manifest_digest,
        root=inputs.root,
        store=face_store_of(config),
        settings=_crop_settings(config).to_dict(),
        code=node_code("FaceExtractor"),
        failures=inputs.failures,
        attempt=inputs.attempt,
        workers=config.extraction.workers,
    ).with_beam_pipeline_args(beam_args(config.beam, "FaceExtractor", config.extraction.workers))
    examples = extractor.outputs["examples"]
    statistics = StatisticsGen(examples=examples).with_beam_pipeline_args(
        beam_args(config.beam, "StatisticsGen")
    )
    schema = ImportSchemaGen(schema_file=inputs.schema)
    validator = ExampleValidator(
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        code=node_code("ExampleValidator"),
    )
    transform = Transform(
        examples=examples,
        schema=schema.outputs["schema"],
        preprocessing_fn="components.transform.preprocessing.preprocessing_fn",
        splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=list(SPLITS)),
        # Decoded pixels are 10 to 40 times larger than JPEG; Trainer applies the graph instead.
        materialize=False,
        # Of decoded pixels they take longer than all else in this node, and nothing reads them.
        disable_statistics=True,
        custom_config={"image_size": image_size_of(config.model), "code": node_code("Transform")},
    ).with_beam_pipeline_args(beam_args(config.beam, "Transform"))
    # Nothing is trained on data that the validator refuses, on any orchestrator.
    transform.add_upstream_node(validator)
    return _Data(extractor, statistics, schema, validator, transform)


def _learning(config: Config, inputs: Inputs, data: _Data, kubeflow: bool) -> _Learning:
    sources = {
        "examples": data.examples,
        "transform_graph": data.transform.outputs["transform_graph"],
        "schema": data.schema.outputs["schema"],
        "train_args": trainer_pb2.TrainArgs(splits=["train"]),
        "eval_args": trainer_pb2.EvalArgs(splits=["val"]),
    }
    extraction = _crop_settings(config).to_dict()
    settings = {
        "model": config.model.to_dict(),
        "training": config.training.to_dict(),
        "weights": weights_digest(config.model.weights),
        "seed": config.seed,
        "metadata": {
            "extraction": extraction,
            "image_size": image_size_of(config.model),
            "label": {"0": "real", "1": "fake"},
            "data": {"layout": config.data.layout, "split": config.data.split},
            "verdict": config.verdict.to_dict(),
            **({"provenance": inputs.provenance} if inputs.provenance else {}),
        },
    }
    # Other backbones' files are no part of it.
    backbone = type(backbone_of(config.model.backbone)).__module__
    tuners = []
    if config.tuner.enabled:
        training = config.training.to_dict()
        # What no trial reads is no reason to search again; trials have epochs of their own.
        del training["epochs"]
        searched = {
            **settings,
            "training": training,
            "metadata": {"extraction": extraction},
            "tuner": config.tuner.to_dict(),
            "code": node_code("Tuner", backbone),
        }
        tuners = [
            Tuner(tuner_fn="components.tuner.tuner_fn.tuner_fn", **sources, custom_config=searched)
        ]
    trainer = Trainer(
        run_fn="components.trainer.run_fn.run_fn",
        **sources,
        hyperparameters=tuners[0].outputs["best_hyperparameters"] if tuners else None,
        custom_config={
            **settings,
            "code": node_code("Trainer", backbone),
            "state_dir": f"{config.output}/training-state",
        },
    )
    return _Learning(tuners, trainer, _baseline(config, trainer.outputs["model"], kubeflow))


def _baseline(config: Config, model: types.BaseChannel, kubeflow: bool) -> base_node.BaseNode:
    if kubeflow:
        return BlessedModel(
            candidate=model,
            push_destination=str(models_folder(config)),
            code=node_code("BlessedModel"),
        )
    return resolver.Resolver(
        strategy_class=BlessedOtherThanCandidate,
        candidate=model,
        model=types.Channel(type=standard_artifacts.Model),
        model_blessing=types.Channel(type=standard_artifacts.ModelBlessing),
        infra_blessing=types.Channel(type=standard_artifacts.InfraBlessing),
    ).with_id("LatestBlessedModel")


def _judging(config: Config, data: _Data, learning: _Learning) -> _Judging:
    baseline = learning.baseline.outputs["model"]
    evaluator = Evaluator(
        examples=data.examples,
        example_splits=["test"],
        model=learning.model,
        baseline_model=baseline,
        schema=data.schema.outputs["schema"],
        eval_config=make_eval_config(config.evaluation),
        code=node_code("Evaluator"),
    ).with_beam_pipeline_args(beam_args(config.beam, "Evaluator"))
    clip_evaluator = ClipEvaluator(
        examples=data.examples,
        model=learning.model,
        model_blessing=evaluator.outputs["blessing"],
        baseline_model=baseline,
        gate=config.evaluation.clip_gate.to_dict(),
        resamples=config.evaluation.resamples,
        code=node_code("ClipEvaluator"),
    )
    infra_validators = []
    if config.serving.infra_validator != "none":
        infra_validators = [make_infra_validator(config.serving, learning.model, data.examples)]
    serving_check = ServingCheck(
        model=learning.model,
        examples=data.examples,
        evaluation=clip_evaluator.outputs["evaluation"],
        model_blessing=clip_evaluator.outputs["blessing"],
        infra_blessing=infra_validators[0].outputs["blessing"] if infra_validators else None,
        limits={
            "tolerance": config.serving.tolerance,
            "gpu_tolerance": config.serving.gpu_tolerance,
            "max_latency_ms": config.serving.max_latency_ms,
        },
        code=node_code("ServingCheck"),
    )
    return _Judging(evaluator, clip_evaluator, infra_validators, serving_check)


def _pusher(config: Config, learning: _Learning, judging: _Judging) -> Pusher:
    folder = pusher_pb2.PushDestination.Filesystem(base_directory=str(models_folder(config)))
    return Pusher(
        model=learning.model,
        model_blessing=judging.clip_evaluator.outputs["blessing"],
        infra_blessing=judging.serving_check.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(filesystem=folder),
    )


def _report(
    config: Config, inputs: Inputs, data: _Data, learning: _Learning, judging: _Judging
) -> Report:
    return Report(
        # Where it ran is no reason to draw it again.
        config={
            key: value
            for key, value in config.to_dict().items()
            if key not in ("beam", "kubeflow", "metadata")
        },
        manifest=inputs.manifest,
        root=inputs.root,
        code=node_code("Report"),
        examples=data.examples,
        extraction=data.extractor.outputs["report"],
        model=learning.model,
        model_run=learning.trainer.outputs["model_run"],
        evaluation=judging.evaluator.outputs["evaluation"],
        clip_evaluation=judging.clip_evaluator.outputs["evaluation"],
        blessing=judging.clip_evaluator.outputs["blessing"],
        serving_check=judging.serving_check.outputs["report"],
    )


def _crop_settings(config: Config) -> CropSettings:
    return config.extraction.crop_settings(config.data.precropped)


def models_folder(config: Config) -> Path:
    """Where Pusher puts model versions: the model base path of a TensorFlow Serving."""
    return place(config.output) / "models" / config.name
