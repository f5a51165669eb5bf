"""A local run from configuration to verdict, for `deepfake run` and local_runner.py."""

from __future__ import annotations

import datetime
import logging
import time
import traceback
from pathlib import Path

from components.trainer.config import ModelConfig
from pipeline import metadata_store
from pipeline.beam_runner import check_job_servers
from pipeline.config import Config
from pipeline.console import Console
from pipeline.infra_validation import check_platform
from pipeline.inputs import make_output, prepare
from pipeline.pushed_version import next_step
from preprocessing.support.command_line import INTERRUPTED
from preprocessing.support.errors import UsageError, cause
from preprocessing.support.files import refuse_bucket
from preprocessing.support.output_lock import locked
from serving.model.restoring import restore

PUSHED, FAILED, WRONG_USAGE, REFUSED = 0, 1, 2, 3


def run(config: Config) -> int:
    """Runs the pipeline on LocalDagRunner and prints what came out.

    Args:
      config: the checked configuration, with `output` set.

    Returns:
      The exit status: 0 pushed, 3 refused by the gate or the serving check, 2 wrong usage, data or
      configuration, 130 interrupted, 1 failure. Whatever was finished before an error stays and is
      not done again.
    """
    try:
        refuse_bucket(
            config.output,
            "TFX keeps the run's metadata and artifacts there. --data may be a bucket; `deepfake "
            "extract` and `deepfake submit --target kubeflow` write into one",
        )
        output = make_output(config.output)
    except UsageError as error:
        print(f"error: {error}")
        return WRONG_USAGE
    try:
        with locked(output, f"the run of {config.name!r}"):
            return _run_logged(config, output)
    except UsageError as error:
        print(f"error: {error}")
        return WRONG_USAGE


def elapsed(started: float, ended: float) -> str:
    """The time between two `time.monotonic` readings, as in `2:03:04` or `1 day, 2:00:00`."""
    return str(datetime.timedelta(seconds=round(ended - started)))


def _run_logged(config: Config, output: Path) -> int:
    started = time.monotonic()
    log = output / "logs" / f"run-{datetime.datetime.now():%Y%m%d-%H%M%S}.log"
    with Console(log) as console:
        console.say(f"run of {config.name!r} into {output}; everything that is logged: {log}")
        try:
            status = _run(config, console)
        except (Exception, KeyboardInterrupt) as error:
            # The boundary of the program: the traceback is for the log, one line for the person.
            logging.error("%s", traceback.format_exc())
            status = FAILED
            if cause(error, KeyboardInterrupt):
                status = INTERRUPTED
                console.say(
                    "interrupted; what was finished is kept, the same command goes on from it"
                )
            elif usage := cause(error, UsageError):
                console.say(f"error: {usage}")
                status = WRONG_USAGE
            else:
                console.say(f"error: {type(error).__name__}: {error}")
                console.say(f"the traceback is at the end of {log}")
        console.say(f"finished after {elapsed(started, time.monotonic())} with status {status}")
    return status


def _run(config: Config, console: Console) -> int:
    check_platform(config.serving, kubeflow=False)
    check_job_servers(config.beam)
    metadata_store.check_store(config)
    # A file is looked at before the data, ImageNet's is fetched after the data proved good: both
    # indexing and a download may take minutes.
    if config.model.weights != "imagenet":
        _check_weights(config.model, console)
    inputs = prepare(config, console.say)
    if config.model.weights == "imagenet":
        _check_weights(config.model, console)
    console.say("loading TFX (about half a minute)")
    from absl import logging as absl_logging

    from pipeline import run_summary
    from pipeline.pipeline import create_pipeline

    store = metadata_store.open_store(config)
    runner = metadata_store.runner(config)
    handler = _NodeLines(console)
    # Set through absl: Beam executors parse absl's flags, which resets the logger's own level.
    absl_logging.set_verbosity(absl_logging.INFO)
    logging.getLogger("absl").addHandler(handler)
    try:
        runner.run(create_pipeline(config, inputs))
    finally:
        logging.getLogger("absl").removeHandler(handler)
    if not runner.run_name:
        # `tfx pipeline create` executes the runner file with a run() that only compiles.
        return PUSHED
    summary = run_summary.summarise(config, inputs, store, runner.run_name)
    summary.write(Path(config.output) / "summary.json")
    console.say("\n" + summary.table())
    if summary.pushed:
        version = Path(summary.pushed)
        # A reused Pusher does not push again.
        if restore(version, Path(summary.archive)):
            console.say(f"{version} was deleted since it was pushed, and is there again")
        console.say(f"\n{next_step(version)}")
    return REFUSED if summary.refused_by else PUSHED


def _check_weights(model: ModelConfig, console: Console) -> None:
    if model.weights == "none":
        return
    from components.trainer.backbones.weights import check_weights

    console.say(f"looking for the weights of {model.backbone}: {model.weights}")
    check_weights(model.backbone, model.weights)


class _NodeLines(logging.Handler):
    """Prints a line when a node starts and ends; LocalDagRunner has no other hook for that."""

    def __init__(self, console: Console):
        super().__init__(logging.INFO)
        self._console = console
        self._started = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        args = record.args if isinstance(record.args, tuple) else ()
        if record.msg == "Component %s is running.":
            self._started = time.monotonic()
            self._console.say(f"{args[0]} ...")
        elif record.msg == "Component %s is finished.":
            seconds = time.monotonic() - self._started
            self._console.say(f"{args[0]} done in {seconds:.0f} s")
