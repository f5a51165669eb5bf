"""Options that `deepfake serve` and `deepfake gateway` share, and the checks of them."""

from __future__ import annotations

import math
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from preprocessing.support.errors import UsageError

WHERE, HOW, SECURITY = "where", "how", "security"

Host = Annotated[str, typer.Option(metavar="ADDRESS", rich_help_panel=WHERE, help="Address.")]
# For parents that start a process: it must not outlive them, however they end.
UntilStdinCloses = Annotated[bool, typer.Option("--until-stdin-closes", hidden=True)]
Drain = Annotated[
    float, typer.Option(metavar="SECONDS", rich_help_panel=HOW, help="After SIGTERM.")
]
HeadTimeout = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        rich_help_panel=HOW,
        help="For the head of an HTTP request; then the connection is closed.",
    ),
]
MaxConnections = Annotated[
    int,
    typer.Option(
        metavar="N", rich_help_panel=HOW, help="Over HTTP; requests on more are refused with 503."
    ),
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


def check_positive(arguments: Any, names: Iterable[str]) -> None:
    """Raises UsageError unless each of these arguments is more than 0."""
    for name in names:
        # Of NaN every comparison is false.
        if not 0 < getattr(arguments, name) < math.inf:
            raise UsageError(f"--{name.replace('_', '-')} must be more than 0, and finite")


def check_not_negative(arguments: Any, names: Iterable[str]) -> None:
    """Raises UsageError unless each of these arguments is 0 or more."""
    for name in names:
        if not 0 <= getattr(arguments, name) < math.inf:
            raise UsageError(f"--{name.replace('_', '-')} must not be below 0, and be finite")


def url_host(host: str) -> str:
    """A host as addresses have it: IPv6 in brackets (RFC 3986, section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def check_ports(arguments: Any, names: Iterable[str]) -> None:
    """Raises UsageError unless each of these arguments is a port of TCP."""
    for name in names:
        if not 0 <= getattr(arguments, name) < 1 << 16:
            raise UsageError(f"--{name.replace('_', '-')} must be 0 to 65535")


def check_free(host: str, port: int, options: str) -> None:
    """Raises UsageError where the port is taken, or the address is none of this machine.

    Args:
      host: address or name to listen on.
      port: port number; 0 is always free.
      options: options that choose another port, for the message.
    """
    if port == 0:
        return
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose {options}"
        ) from error


def check_tls(arguments: Any) -> None:
    """Raises UsageError where one of `--tls-cert` and `--tls-key` is given alone."""
    if bool(arguments.tls_cert) != bool(arguments.tls_key):
        raise UsageError("--tls-cert and --tls-key go together")


def check_files(paths: Iterable[str]) -> None:
    """Raises UsageError for a path, other than an empty one, where there is no file."""
    for path in paths:
        if path and not Path(path).is_file():
            raise UsageError(f"there is no file {path}")


def check_cors(origins: Iterable[str]) -> None:
    """Raises UsageError unless each origin is `*` or scheme://host[:port]."""
    for origin in origins:
        if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#\s@]+", origin):
            raise UsageError(
                f"--cors-origin {origin!r} is no origin; write https://HOST or https://HOST:PORT, "
                "without a path"
            )
