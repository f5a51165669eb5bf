"""Runs the pipeline with TFX's LocalDagRunner; the file that the `tfx` command is given.

The tfx command passes no arguments, so the configuration comes from the environment:
  DEEPFAKE_CONFIG  a preset or a YAML file (default: demo)
  DEEPFAKE_DATA    folder of the dataset
  DEEPFAKE_OUTPUT  folder of everything the run writes
  DEEPFAKE_SET     further `section.key=value`, separated by spaces

    tfx pipeline create --pipeline-path local_runner.py --engine local
    tfx run create --pipeline-name demo --engine local
"""

import sys

from pipeline.config import config_from_environment
from pipeline.run import WRONG_USAGE, run
from preprocessing.support.errors import UsageError


def main() -> int:
    """Runs the pipeline; returns the exit status."""
    try:
        config = config_from_environment()
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USAGE
    return run(config)


if __name__ == "__main__":
    status = main()
    # Only when there is something to say: the tfx command takes any SystemExit for a failure.
    if status:
        sys.exit(status)
