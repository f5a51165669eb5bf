"""What the containers of a compiled pipeline run: one task of TFX, for Kubeflow and Vertex AI.

    python -m pipeline.kubeflow.entry_point --executor_class_path CLASS
        --json_serialized_invocation_args EXECUTOR_INPUT
        --json_serialized_inputs_spec_args INPUTS_SPEC [BEAM_ARGUMENT ...]

The arguments are those of TFX's container entry point, which does the work;
`pipeline.kubeflow.task` says what is translated for it. The exit status is 0 when the executor has
finished and its answer is written, 2 for data or a configuration that it refuses, 1 for any other
failure.

`DEEPFAKE_BUCKETS` names the folder that holds the folders `gcs`, `s3` and `minio`; Kubeflow and
Vertex AI have them in the root folder, which is the default.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence

from pipeline.kubeflow.buckets import Buckets
from pipeline.kubeflow.task import Task
from preprocessing.support.errors import UsageError, cause

FINISHED, FAILED, REFUSED = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the task of the arguments.

    Args:
      argv: arguments; those of the process by default.

    Returns:
      The exit status, see the module.
    """
    arguments, beam_args = _parse(argv)
    try:
        task = Task(
            json.loads(arguments.json_serialized_invocation_args),
            json.loads(arguments.json_serialized_inputs_spec_args or "{}"),
            Buckets(os.environ.get("DEEPFAKE_BUCKETS", "/")),
        )
        task.prepare()
        _run_tfx(arguments, beam_args, task)
    except Exception as error:  # The boundary of the program.
        if usage := cause(error, UsageError):
            print(f"error: {usage}", file=sys.stderr)
            return REFUSED
        traceback.print_exc()
        return FAILED
    return FINISHED


def _parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    # Beam's arguments must not be taken for abbreviations.
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--executor_class_path", required=True)
    parser.add_argument("--json_serialized_invocation_args", required=True)
    parser.add_argument("--json_serialized_inputs_spec_args")
    return parser.parse_known_args(argv)


def _run_tfx(arguments: argparse.Namespace, beam_args: list[str], task: Task) -> None:
    from absl import flags
    from absl import logging as absl_logging
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2
    from tfx.orchestration.kubeflow.v2.container import (
        kubeflow_v2_entrypoint_utils,
        kubeflow_v2_run_executor,
    )

    from pipeline import tfx_files

    tfx_files.register()
    # As absl's own `app.run`, which would end the process.
    flags.FLAGS([sys.argv[0]])
    absl_logging.use_absl_handler()
    arguments.json_serialized_invocation_args = json.dumps(task.document)
    kubeflow_v2_run_executor.main((arguments, beam_args))
    names: dict[int, str] = {}
    parsed = json_format.ParseDict(
        task.document, pipeline_spec_pb2.ExecutorInput(), ignore_unknown_fields=True
    )
    kubeflow_v2_entrypoint_utils.parse_raw_artifact_dict(parsed.inputs.artifacts, names)
    task.answer(names)


def exit_at_once(status: int) -> None:
    """Ends the process with this status, without the interpreter's shutdown.

    The launcher takes the exit status as the outcome of the task. Native libraries that are torn
    down while their threads run may abort a process whose work is finished and written.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


if __name__ == "__main__":
    exit_at_once(main())
