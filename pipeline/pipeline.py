"""The DAG: the only place where nodes are wired."""

from __future__ import annotations

from pathlib import Path

from tfx import types
from tfx.components.pusher.component import Pusher
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.components.trainer.component import Trainer
from tfx.components.transform.component import Transform
from tfx.components.tuner.component import Tuner
from tfx.dsl.components.common import resolver
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.proto import pusher_pb2, trainer_pb2, transform_pb2
from tfx.types import standard_artifacts

from components.blessed_model.component import BlessedModel
from components.blessed_model.strategy import BlessedBeforeCandidate
from components.clip_evaluator.component import ClipEvaluator
from components.evaluation.eval_config import make_eval_config
from components.evaluator.component import Evaluator
from components.example_validator.component import ExampleValidator
from components.face_extractor.component import FaceExtractor
from components.report.component import Report
from components.serving_check.component import ServingCheck
from components.trainer.backbones.base import backbone_of
from components.trainer.config import image_size_of
from pipeline.cache_keys import node_code
from pipeline.config import Config
from pipeline.infra_validation import make_infra_validator
from pipeline.inputs import Inputs, face_store_of
from preprocessing.datasets.clip import SPLITS
from preprocessing.support.beam_args import worker_args


def create_pipeline(
    config: Config, inputs: Inputs, kubeflow: bool = False
) -> tfx_pipeline.Pipeline:
    """Wires FaceExtractor to Pusher.

    Args:
      config: the run's configuration.
      inputs: what `pipeline.inputs.prepare` made of it.
      kubeflow: True leaves out what Kubeflow Pipelines does not run: resolver nodes (BlessedModel
        finds the baseline instead) and the local metadata store.

    Returns:
      The pipeline, for any TFX runner.
    """
    settings = config.extraction.crop_settings(config.data.precropped)
    image_size = image_size_of(config.model)
    push_destination = str(models_folder(config))

    extractor = FaceExtractor(
        manifest=inputs.manifest,
        manifest_digest=inputs.manifest_digest,
        root=inputs.root,
        store=face_store_of(config),
        settings=settings.to_dict(),
        code=node_code("FaceExtractor"),
        attempt=inputs.attempt,
        workers=config.extraction.workers,
    ).with_beam_pipeline_args(worker_args(config.extraction.workers))
    examples = extractor.outputs["examples"]

    statistics = StatisticsGen(examples=examples)
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
        custom_config={"image_size": image_size, "code": node_code("Transform")},
    )
    # Nothing is trained on data that the validator refuses, on any orchestrator.
    transform.add_upstream_node(validator)
    learning = {
        "examples": examples,
        "transform_graph": transform.outputs["transform_graph"],
        "schema": schema.outputs["schema"],
        "train_args": trainer_pb2.TrainArgs(splits=["train"]),
        "eval_args": trainer_pb2.EvalArgs(splits=["val"]),
    }
    learning_config = {
        "model": config.model.to_dict(),
        "training": config.training.to_dict(),
        "seed": config.seed,
        "metadata": {
            "extraction": settings.to_dict(),
            "image_size": image_size,
            "label": {"0": "real", "1": "fake"},
            "data": {"layout": config.data.layout, "split": config.data.split},
        },
    }
    # Other backbones' files are no part of it.
    backbone = type(backbone_of(config.model.backbone)).__module__
    tuners = []
    if config.tuner.enabled:
        tuners = [
            Tuner(
                tuner_fn="components.tuner.tuner_fn.tuner_fn",
                **learning,
                custom_config={
                    **learning_config,
                    "tuner": config.tuner.to_dict(),
                    "code": node_code("Tuner", backbone),
                },
            )
        ]
    trainer = Trainer(
        run_fn="components.trainer.run_fn.run_fn",
        **learning,
        hyperparameters=tuners[0].outputs["best_hyperparameters"] if tuners else None,
        custom_config={
            **learning_config,
            "code": node_code("Trainer", backbone),
            "state_dir": f"{config.output}/training-state",
        },
    )
    model = trainer.outputs["model"]
    if kubeflow:
        baseline = BlessedModel(
            candidate=model, push_destination=push_destination, code=node_code("BlessedModel")
        )
    else:
        baseline = resolver.Resolver(
            strategy_class=BlessedBeforeCandidate,
            candidate=model,
            model=types.Channel(type=standard_artifacts.Model),
            model_blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            infra_blessing=types.Channel(type=standard_artifacts.InfraBlessing),
        ).with_id("LatestBlessedModel")
    evaluator = Evaluator(
        examples=examples,
        example_splits=["test"],
        model=model,
        baseline_model=baseline.outputs["model"],
        schema=schema.outputs["schema"],
        eval_config=make_eval_config(config.evaluation),
        code=node_code("Evaluator"),
    )
    clip_evaluator = ClipEvaluator(
        examples=examples,
        model=model,
        model_blessing=evaluator.outputs["blessing"],
        baseline_model=baseline.outputs["model"],
        gate=config.evaluation.clip_gate.to_dict(),
        resamples=config.evaluation.resamples,
        code=node_code("ClipEvaluator"),
    )
    infra_validators = []
    if config.serving.infra_validator != "none":
        infra_validators = [make_infra_validator(config.serving, model, examples)]
    serving_check = ServingCheck(
        model=model,
        examples=examples,
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
    pusher = Pusher(
        model=model,
        model_blessing=clip_evaluator.outputs["blessing"],
        infra_blessing=serving_check.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=push_destination)
        ),
    )
    judges = [evaluator, clip_evaluator, *infra_validators, serving_check]
    nodes = [extractor, statistics, schema, validator, transform, *tuners, trainer, baseline]
    report = Report(
        config=config.to_dict(),
        manifest=inputs.manifest,
        root=inputs.root,
        code=node_code("Report"),
        examples=examples,
        extraction=extractor.outputs["report"],
        model=model,
        model_run=trainer.outputs["model_run"],
        evaluation=evaluator.outputs["evaluation"],
        clip_evaluation=clip_evaluator.outputs["evaluation"],
        blessing=clip_evaluator.outputs["blessing"],
        serving_check=serving_check.outputs["report"],
    )
    # What cannot be drawn may still be pushed.
    report.add_upstream_node(pusher)
    return tfx_pipeline.Pipeline(
        pipeline_name=config.name,
        pipeline_root=f"{config.output}/artifacts",
        components=[*nodes, *judges, pusher, report],
        enable_cache=True,
        beam_pipeline_args=list(config.beam_args),
        metadata_connection_config=None
        if kubeflow
        else metadata.sqlite_metadata_connection_config(str(metadata_file(config))),
    )


def metadata_file(config: Config) -> Path:
    """The metadata store of local runs."""
    return Path(config.output) / "metadata" / "metadata.sqlite"


def models_folder(config: Config) -> Path:
    """Where Pusher puts model versions: the model base path of a TensorFlow Serving."""
    return Path(config.output) / "models" / config.name
