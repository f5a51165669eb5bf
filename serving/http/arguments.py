"""Arguments that `deepfake serve` and `deepfake gateway` share, and the checks of them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from pathlib import Path

from preprocessing.support.errors import UsageError


def add_tls_arguments(group: argparse._ArgumentGroup) -> None:
    """Adds `--tls-cert` and `--tls-key`."""
    group.add_argument("--tls-cert", default="", metavar="FILE", help="certificate chain (PEM)")
    group.add_argument("--tls-key", default="", metavar="FILE", help="private key (PEM)")


def add_token_argument(group: argparse._ArgumentGroup) -> None:
    """Adds `--token-file`."""
    group.add_argument(
        "--token-file", metavar="FILE", help="ask for `Authorization: Bearer` and what it holds"
    )


def add_cors_argument(group: argparse._ArgumentGroup) -> None:
    """Adds `--cors-origin`."""
    group.add_argument(
        "--cors-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let pages of this origin ask (https://example.org; may be given again; * for all; "
        "default: none)",
    )


def add_stdin_argument(group: argparse._ArgumentGroup) -> None:
    """Adds `--until-stdin-closes`, hidden: for parents whose child must not outlive them."""
    group.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)


def check_positive(arguments: argparse.Namespace, names: Iterable[str]) -> None:
    """Raises UsageError unless each of these arguments is more than 0."""
    for name in names:
        if getattr(arguments, name) <= 0:
            raise UsageError(f"--{name.replace('_', '-')} must be more than 0")


def check_ports(arguments: argparse.Namespace, names: Iterable[str]) -> None:
    """Raises UsageError unless each of these arguments is a port of TCP."""
    for name in names:
        if not 0 <= getattr(arguments, name) < 1 << 16:
            raise UsageError(f"--{name.replace('_', '-')} must be 0 to 65535")


def check_tls(arguments: argparse.Namespace) -> None:
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
