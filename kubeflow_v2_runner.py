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

from pipeline.config import config_from_environment
from pipeline.inputs import prepare
from preprocessing.errors import UsageError

DEFAULT_IMAGE = "deepfake-detection:latest"


def compile_pipeline(output_filename: str) -> None:
    """Writes the compiled pipeline; the format follows the file's ending.

    Raises:
      UsageError: the configuration or the data is wrong, or kfp is not installed.
    """
    config = config_from_environment()
    inputs = prepare(config)
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
    # The tfx command executes this file with its own sys.argv.
    arguments = [a for a in sys.argv[1:] if a.endswith((".yaml", ".json"))]
    try:
        compile_pipeline(arguments[0] if arguments else "pipeline.yaml")
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    status = main()
    if status:
        sys.exit(status)
