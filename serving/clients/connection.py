"""Makes the scorer for a server's address."""

from __future__ import annotations

import urllib.parse

from preprocessing.support.errors import UsageError
from preprocessing.support.without_keras import without_keras
from serving.clients.base import ClientSettings, Scorer


def check_address(url: str) -> None:
    """Raises UsageError unless `connect` takes the URL. Imports nothing, unlike that."""
    try:
        parts = urllib.parse.urlsplit(url)
        is_known = (
            parts.scheme in ("grpc", "grpcs", "http", "https") and parts.hostname and parts.port
        )
    except ValueError:
        is_known = False
    if not is_known:
        raise UsageError(
            f"{url!r} is no address of a server; write grpc://HOST:PORT or http://HOST:PORT "
            "(grpcs and https with TLS)"
        )


def connect(
    url: str, model: str, settings: ClientSettings | None = None, version: int | None = None
) -> Scorer:
    """Makes a scorer.

    Args:
      url: `grpc://host:port`, `grpcs://host:port`, `http://host:port` or `https://host:port`.
      model: name of the model on the server.
      settings: request settings.
      version: a version number; None takes the latest.

    Returns:
      The scorer; nothing was sent yet.

    Raises:
      UsageError: the URL is none of these.
    """
    check_address(url)
    parts = urllib.parse.urlsplit(url)
    settings = settings or ClientSettings()
    if parts.scheme.startswith("grpc"):
        with without_keras():
            from serving.clients.grpc_scorer import GrpcScorer

        return GrpcScorer(parts.netloc, model, settings, version, tls=parts.scheme == "grpcs")
    from serving.clients.rest_scorer import RestScorer

    return RestScorer(url.rstrip("/"), model, settings, version)
