"""`deepfake up`."""

from __future__ import annotations

from typing import Annotated

import typer

from serving.http.arguments import Host


def up(
    model_base: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL_BASE]",
            help="Folder of version folders (what Pusher writes: OUTPUT/models/NAME).",
            show_default="the starter",
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", help="Of page and gateway; 0 takes a free one.")
    ] = 8080,
    grpc_port: Annotated[
        int, typer.Option(metavar="N", help="Of the model server.", show_default="a free one")
    ] = 0,
    rest_port: Annotated[
        int, typer.Option(metavar="N", help="Of the model server.", show_default="a free one")
    ] = 0,
) -> int:
    """Serve a model on this machine: model server, gateway and page.

    Starts `deepfake serve` on the loopback device and `deepfake gateway` in front of it, and says
    when and where both answer: a line of JSON on standard output, a sentence and the logs of both
    on standard error. Ends both, the gateway first, on SIGTERM and SIGINT (Ctrl-C), at once on a
    second one; where one of them dies it ends the other and says why. New versions in the folder
    are served as they come. For other options, and for more than one machine, start the two
    commands themselves.

    Exit status: 0 ended by a signal, 1 one of the two died or was killed, 2 wrong usage.
    """
    from pipeline.up import serve_here

    return serve_here(model_base, host, port, grpc_port, rest_port)
