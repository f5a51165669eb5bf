"""Compiles the pipeline for Kubeflow Pipelines 2 (pipeline.yaml) and for Vertex AI (JSON).

    python kubeflow_v2_runner.py [pipeline.yaml | pipeline.json]
    tfx pipeline compile --pipeline-path kubeflow_v2_runner.py --engine vertex

The configuration comes from the environment as for local_runner.py; besides:
  DEEPFAKE_IMAGE   container image with this project installed

`DEEPFAKE_OUTPUT` and `DEEPFAKE_DATA` must be paths that mean the same here and in the pods (a
volume mounted at one place): the manifest is made here and read there. `deepfake compile`, which
does the same from options, refuses others.
"""

import os
import sys
from pathlib import Path

from pipeline.compilation import finished, make_pipeline, make_runner, with_absolute_paths, write
from pipeline.config import config_from_environment
from pipeline.infra_validation import check_platform
from pipeline.inputs import prepare
from pipeline.kubeflow.names import image_of, pipeline_name
from preprocessing.support.errors import UsageError


def compile_pipeline(output_filename: str) -> None:
    """Writes the compiled pipeline; the format follows the file's ending.

    Raises:
      UsageError: the configuration or the data is wrong, or kfp is not installed.
    """
    config = config_from_environment()
    check_platform(config.serving, kubeflow=True)
    pipeline_name(config.name)
    config = with_absolute_paths(config)
    inputs = prepare(config, print)
    image = image_of(config.kubeflow, os.environ.get("DEEPFAKE_IMAGE"))
    runner = make_runner(image, output_filename=output_filename)
    job = runner.run(make_pipeline(config, inputs))
    # The tfx command may compile into a folder of its own, or not at all; it knows Vertex AI only.
    if job is not None and Path(output_filename).is_file():
        path, job = Path(output_filename), finished(job, config.kubeflow)
        write(path, job, config.kubeflow, platform=not _under_tfx_command())


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


def _under_tfx_command() -> bool:
    """Whether the tfx command executes this file; it does so as if a person did."""
    return "tfx.tools.cli.cli_main" in sys.modules


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
