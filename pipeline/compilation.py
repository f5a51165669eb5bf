"""The compiled pipeline: a package for Kubeflow Pipelines 2, or a job for Vertex AI."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.infra_validation import check_platform
from pipeline.inputs import Inputs, make_output, prepare
from pipeline.kubeflow import runtime_parameters
from pipeline.kubeflow.buckets import texts_changed
from pipeline.kubeflow.checks import Target, check_places, check_target
from pipeline.kubeflow.config import KubeflowConfig
from pipeline.kubeflow.names import pipeline_name, task_name
from preprocessing.support.errors import UsageError
from preprocessing.support.files import place
from preprocessing.support.quiet import load_tensorflow, quiet
from preprocessing.support.storage.bucket_path import is_remote

if TYPE_CHECKING:
    from tfx.orchestration import pipeline as tfx_pipeline

    from pipeline.config import Config

COMMAND = ("python", "-m", "pipeline.kubeflow.entry_point")


def make_runner(image: str, **parameters: Any) -> Any:
    """TFX's compiler, set to the project's entry point.

    Args:
      image: image that tasks run in.
      **parameters: parameters of `KubeflowV2DagRunner`.

    Raises:
      UsageError: kfp is not installed.
    """
    # What libraries say while they load is not about this pipeline.
    load_tensorflow()
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner
        except ImportError as error:
            raise UsageError(f"compiling for Kubeflow needs the package kfp: {error}") from error
    config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
        default_image=image,
        default_commands=list(COMMAND),
        # Open-source Kubeflow reads schema 2.1.0 only.
        use_pipeline_spec_2_1=True,
    )
    return kubeflow_v2_dag_runner.KubeflowV2DagRunner(config=config, **parameters)


def make_pipeline(config: Config, inputs: Inputs) -> tfx_pipeline.Pipeline:
    """The pipeline with the resources that its nodes ask for."""
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from kfp.pipeline_spec import pipeline_spec_pb2

        from pipeline.pipeline import create_pipeline
    pipeline = create_pipeline(config, inputs, kubeflow=True)
    message = pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec
    for node in pipeline.components:
        amounts = config.kubeflow.amounts_of(node.id)
        if not amounts:
            continue
        cpu, memory = amounts.get("cpu", 0.0), amounts.get("memory", 0.0)
        resources = message(
            cpu_request=cpu, cpu_limit=cpu, memory_request=memory, memory_limit=memory
        )
        if gpus := int(amounts.get("gpus", 0)):
            resources.accelerator.type = config.kubeflow.gpu_type
            resources.accelerator.count = gpus
        node.with_platform_config(resources)
    return pipeline


def compile_job(config: Config, inputs: Inputs, image: str) -> dict[str, Any]:
    """Compiles the pipeline.

    Args:
      config: the run's configuration.
      inputs: inputs that `pipeline.inputs.prepare` made of it.
      image: image that tasks run in.

    Returns:
      A `PipelineJob` as JSON values.

    Raises:
      UsageError: kfp is not installed, or the pipeline's name cannot be used.
    """
    runner = make_runner(image)
    job: dict[str, Any] = runner.run(make_pipeline(config, inputs), write_out=False)
    return finished(job, config.kubeflow)


def finished(job: dict[str, Any], kubeflow: KubeflowConfig) -> dict[str, Any]:
    """A job of TFX's compiler with retries, names and paths of a cluster, and JSON in one line.

    Versions of protobuf write JSON differently, which would change cache keys. What may be chosen
    at the start is declared.
    """

    def plain(text: str) -> str:
        # "{{$}}" is the launcher's.
        if not text.startswith(("{", "[")) or text.startswith("{{"):
            return kubeflow.in_pods(text)
        return json.dumps(texts_changed(json.loads(text), plain), sort_keys=True)

    spec = job["pipelineSpec"] = texts_changed(job["pipelineSpec"], plain)
    runtime_parameters.declare(spec)
    dag = spec["root"]["dag"]
    dag["tasks"] = {task_name(node): _renamed(task) for node, task in dag["tasks"].items()}
    if kubeflow.retries:
        for task in dag["tasks"].values():
            task["retryPolicy"] = {"maxRetryCount": kubeflow.retries, "backoffDuration": "30s"}
    return job


def _renamed(task: dict[str, Any]) -> dict[str, Any]:
    """A task under its name in a cluster, which knows the others by theirs."""
    task["taskInfo"]["name"] = task_name(task["taskInfo"]["name"])
    if "dependentTasks" in task:
        task["dependentTasks"] = [task_name(node) for node in task["dependentTasks"]]
    for source in task.get("inputs", {}).get("artifacts", {}).values():
        task_output = source["taskOutputArtifact"]
        task_output["producerTask"] = task_name(task_output["producerTask"])
    return task


def compile_file(
    target: Target,
    config: Config,
    image: str,
    path: Path,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Checks the configuration, indexes the data, compiles, and writes the file.

    Args:
      target: platform that it is compiled for.
      config: the run's configuration; `data` and `output` lie on the volume, or in buckets.
      image: image that tasks run in.
      path: path of the file: .yaml for Kubeflow, .json for Vertex AI.
      say: function that is told warnings and the dataset's table.

    Returns:
      The `PipelineJob` as JSON values.

    Raises:
      UsageError: something of the configuration, the data or the file is refused.
    """
    ending = ".yaml" if target == "kubeflow" else ".json"
    if path.suffix != ending:
        raise UsageError(f"{path}: the file for {target} ends in {ending}")
    if not path.resolve().parent.is_dir():
        raise UsageError(f"the folder of {path} does not exist: make it, or name another file")
    check(target, config)
    config = with_absolute_paths(config)
    if not on_volume(config):
        config = config.replace(kubeflow=config.kubeflow.replace(volume=""))
    remote = [path for path in _places(config).values() if is_remote(path)]
    if target == "kubeflow" and remote and not config.kubeflow.secrets:
        say(
            f"warning: tasks read {remote[0]} with what their pods have: kubeflow.secrets is "
            "empty, so the service account has to bring credentials"
        )
    inputs = prepare(config, say)
    job = compile_job(config, inputs, image)
    write(path, job, config.kubeflow)
    return job


def with_absolute_paths(config: Config) -> Config:
    """The configuration for tasks, which run in another folder; the output's folder is made.

    Raises:
      UsageError: the output cannot be written.
    """
    config = config.replace(output=str(make_output(config.output)))
    weights = _places(config).get("model.weights", "")
    if weights and not is_remote(weights):
        config = config.replace(model=config.model.replace(weights=str(place(weights).resolve())))
    return config


def check(target: Target, config: Config) -> None:
    """Refuses (UsageError) what would fail on the target; looks at the configuration only."""
    if not config.output:
        raise UsageError("no output folder is named: give --output DIR, or set output")
    pipeline_name(config.name)
    check_platform(config.serving, kubeflow=True)
    if target == "vertex" or on_volume(config):
        check_target(config.kubeflow, target)
    check_places(
        config.kubeflow,
        {key: str(place(path).resolve()) for key, path in _places(config).items()},
        buckets=target == "kubeflow",
    )


def _places(config: Config) -> dict[str, str]:
    """Key of the configuration -> what tasks read or write there."""
    places = {"output": config.output, "data.dir": config.data.dir, "data.list": config.data.list}
    if config.model.weights not in ("none", "imagenet", "starter"):
        # As for the readers, `~` is the home folder; that of an unknown user stays as it is.
        places["model.weights"] = os.path.expanduser(config.model.weights)  # noqa: PTH111
    return {key: path for key, path in places.items() if path}


def on_volume(config: Config) -> bool:
    """Whether tasks need a volume: not where all they read and write lies in object stores."""
    return not all(is_remote(path) for path in _places(config).values())


def platform_document(job: dict[str, Any], kubeflow: KubeflowConfig) -> dict[str, Any]:
    """What Kubernetes is to give each task besides resources: a `PlatformSpec` as JSON values.

    The fields are those of `KubernetesExecutorConfig` that Kubeflow 2.0 knows already.

    Args:
      job: result of `compile_job`.
      kubeflow: section `kubeflow` of the configuration.
    """
    executors = {}
    for name, component in job["pipelineSpec"]["components"].items():
        chosen: dict[str, Any] = {}
        if kubeflow.volume:
            mount = {"constant": kubeflow.volume, "mountPath": kubeflow.mount_path}
            chosen["pvcMount"] = [mount]
        if labels := kubeflow.labels_of(name):
            chosen["nodeSelector"] = {"labels": labels}
        if tolerations := kubeflow.tolerations_of(name):
            chosen["tolerations"] = tolerations
        if secrets := kubeflow.secrets_as_variables():
            chosen["secretAsEnv"] = secrets
        if kubeflow.pull_secrets:
            chosen["imagePullSecret"] = [{"secretName": name} for name in kubeflow.pull_secrets]
        if chosen:
            executors[component["executorLabel"]] = chosen
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}


def write(path: Path, job: dict[str, Any], kubeflow: KubeflowConfig, platform: bool = True) -> None:
    """Writes a package where the file's name ends in .yaml, else a job for Vertex AI (JSON).

    Args:
      path: path of the file.
      job: result of `compile_job`.
      kubeflow: section `kubeflow` of the configuration.
      platform: False leaves out the platform document of a package, which Vertex AI cannot read.
    """
    if path.suffix == ".yaml":
        documents = [job["pipelineSpec"]]
        if platform:
            documents.append(platform_document(job, kubeflow))
        text = yaml.safe_dump_all(documents, sort_keys=True, width=1000)
    else:
        text = json.dumps(job, sort_keys=True, indent=1) + "\n"
    path.write_text(text, encoding="utf-8")
