"""Options that server and gateway share."""

from __future__ import annotations

from typing import Annotated

import typer

WHERE, HOW, SECURITY = "where", "how", "security"

Host = Annotated[str, typer.Option(metavar="ADDRESS", rich_help_panel=WHERE, help="Address.")]
# For parents that start a process: it must not outlive them, however they end.
UntilStdinCloses = Annotated[bool, typer.Option("--until-stdin-closes", hidden=True)]
Drain = Annotated[
    float, typer.Option(metavar="SECONDS", rich_help_panel=HOW, help="After SIGTERM.")
]
TlsCert = Annotated[
    str,
    typer.Option(metavar="FILE", rich_help_panel=SECURITY, help="Certificate chain (PEM)."),
]
TlsKey = Annotated[
    str, typer.Option(metavar="FILE", rich_help_panel=SECURITY, help="Private key (PEM).")
]
TokenFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=SECURITY,
        help="Ask for `Authorization: Bearer` and what it holds.",
    ),
]
CorsOrigin = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ORIGIN",
        rich_help_panel=SECURITY,
        help="Let pages of this origin ask (https://example.org; may be given again; * for all).",
        show_default="none",
    ),
]
