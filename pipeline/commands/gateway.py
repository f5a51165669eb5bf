"""`deepfake gateway`, which is also `python -m serving.gateway`."""

from __future__ import annotations

from preprocessing.support.command_line import from_options
from serving.gateway.arguments import GatewayArguments


@from_options(GatewayArguments)
def gateway(arguments: GatewayArguments) -> int:
    """Answer pictures and videos with verdicts over HTTP, and show a page to drop them on.

    Cuts the faces out of each file that is sent, as the served version of the model wants them,
    has TensorFlow Serving or `deepfake serve` score them, and answers as `deepfake predict` does:
    POST the file to /v1/verdict, or open / in a browser.
    """
    from serving.gateway.main import run

    return run(arguments)
