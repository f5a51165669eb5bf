"""Compiles the pipeline for Kubeflow Pipelines 2 (pipeline.yaml) and for Vertex AI (JSON).

    python kubeflow_v2_runner.py [pipeline.yaml | pipeline.json]
    tfx pipeline compile --pipeline-path kubeflow_v2_runner.py --engine vertex

The configuration comes from the environment as for local_runner.py; besides:
  DEEPFAKE_IMAGE   container image with this project installed

`DEEPFAKE_OUTPUT` and `DEEPFAKE_DATA` must be paths that mean the same here and in the pods (a
volume mounted at one place): the manifest is made here and read there.
"""

import os
import sys
import warnings
from pathlib import Path

from pipeline.config import config_from_environment
from pipeline.infra_validation import check_platform
from pipeline.inputs import make_output, prepare
from preprocessing.support.errors import UsageError
from preprocessing.support.quiet import load_tensorflow, quiet

DEFAULT_IMAGE = "deepfake-detection:latest"


def compile_pipeline(output_filename: str) -> None:
    """Writes the compiled pipeline; the format follows the file's ending.

    Raises:
      UsageError: the configuration or the data is wrong, or kfp is not installed.
    """
    config = config_from_environment()
    check_platform(config.serving, kubeflow=True)
    # A relative path means nothing in a pod.
    config = config.replace(output=str(make_output(config.output)))
    inputs = prepare(config, print)
    # What libraries say while they load is not about this pipeline.
    load_tensorflow()
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner
        except ImportError as error:
            raise UsageError(f"compiling for Kubeflow needs the package kfp: {error}") from error
        from pipeline.pipeline import create_pipeline

    kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        config=kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
            default_image=os.environ.get("DEEPFAKE_IMAGE", DEFAULT_IMAGE),
            # Open-source Kubeflow reads schema 2.1.0 only.
            use_pipeline_spec_2_1=True,
        ),
        output_filename=output_filename,
    ).run(create_pipeline(config, inputs, kubeflow=True))


def main() -> int:
    """Writes the pipeline; returns the exit status."""
    try:
        output_filename = _output_filename(sys.argv)
        compile_pipeline(output_filename)
        print(f"wrote {output_filename}")
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _output_filename(argv: list[str]) -> str:
    # The tfx command executes this file with its own sys.argv.
    arguments = argv[1:] if Path(argv[0]).name == Path(__file__).name else []
    if len(arguments) > 1 or not all(a.endswith((".yaml", ".json")) for a in arguments):
        raise UsageError("write it as: python kubeflow_v2_runner.py [pipeline.yaml|pipeline.json]")
    name = arguments[0] if arguments else "pipeline.yaml"
    if not Path(name).resolve().parent.is_dir():
        raise UsageError(f"the folder of {name} does not exist: make it, or name another file")
    return name


if __name__ == "__main__":
    status = main()
    if status:
        sys.exit(status)
