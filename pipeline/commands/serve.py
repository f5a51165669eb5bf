"""`deepfake serve`, which is also `python -m serving.server`."""

from __future__ import annotations

from preprocessing.support.command_line import from_options
from serving.server.arguments import ServerArguments


@from_options(ServerArguments)
def serve(arguments: ServerArguments) -> int:
    """Answer TensorFlow Serving's clients (development, tests, small installations)."""
    from serving.server.main import run

    return run(arguments)
