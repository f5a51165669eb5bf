"""The options of an HTTP server: address, time limits and TLS."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class HttpOptions:
    """Address, time limits and TLS of `serving.http.http_server.HttpServer`.

    Attributes:
      host: address to listen on.
      port: TCP port; 0 takes a free one.
      timeout: seconds for the body of a request, and for the reading of its answer.
      head_timeout: seconds for the head of a request; the connection is closed after them.
      keep_alive: seconds for which an idle connection is kept.
      max_connections: number of connections; requests on more get 503.
      tls_cert: path of a PEM file with the certificate chain; with `tls_key`.
      tls_key: path of a PEM file with the private key.
      tls_client_ca: path of a PEM file; clients must show a certificate that it signed.
      drain_seconds: seconds for which requests may go on after the server was told to stop.
    """

    host: str = "127.0.0.1"
    port: int = 0
    timeout: float = 30.0
    head_timeout: float = 10.0
    keep_alive: float = 5.0
    max_connections: int = 512
    tls_cert: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    drain_seconds: float = 30.0
