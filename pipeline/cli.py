"""The `deepfake` command. It imports nothing heavy before a command needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import typer

from pipeline.commands.augment_preview import augment_preview
from pipeline.commands.compare import compare
from pipeline.commands.compile import compile as compile_pipeline
from pipeline.commands.demo_data import demo_data
from pipeline.commands.doctor import doctor
from pipeline.commands.drift import drift
from pipeline.commands.evaluate import evaluate
from pipeline.commands.extract import extract
from pipeline.commands.gateway import gateway
from pipeline.commands.index import index
from pipeline.commands.predict import predict
from pipeline.commands.report import report
from pipeline.commands.rollback import rollback
from pipeline.commands.run import run
from pipeline.commands.score import score
from pipeline.commands.serve import serve
from pipeline.commands.submit import submit
from pipeline.commands.up import up
from preprocessing.support.command_line import add_command, call, program

# In the order of the list of commands.
COMMANDS: dict[str, Callable[..., int]] = {
    "run": run,
    "compile": compile_pipeline,
    "submit": submit,
    "index": index,
    "extract": extract,
    "augment-preview": augment_preview,
    "predict": predict,
    "evaluate": evaluate,
    "score": score,
    "drift": drift,
    "report": report,
    "compare": compare,
    "demo-data": demo_data,
    "up": up,
    "serve": serve,
    "gateway": gateway,
    "rollback": rollback,
    "doctor": doctor,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point.

    Args:
      argv: arguments; those of the process by default.

    Returns:
      The exit status, see `preprocessing.support.command_line.call`.
    """
    return call(deepfake(), "deepfake", argv)


def deepfake() -> typer.Typer:
    """The program with all its commands."""
    app = program(help="Train, gate, push and ask a deepfake detector.")
    for name, function in COMMANDS.items():
        add_command(app, name, function)
    return app
