"""Each argument of `deepfake serve` reaches the server."""

import dataclasses
import operator
from pathlib import Path

import pytest

from preprocessing.support.errors import UsageError
from serving.http.http_server import HttpServer
from serving.server.arguments import ServerArguments
from serving.server.main import _options

# Argument -> a value that is not its default, the option that has it, and as what.
CHANGES = {
    "host": ("127.0.0.2", "host", "127.0.0.2"),
    "port": (18500, "port", 18500),
    "rest_port": (18501, "rest_port", 18501),
    "rest_timeout": (7.0, "rest_timeout", 7.0),
    "no_rest": (True, "rest_port", None),
    "grpc_socket_path": ("a/socket", "socket_path", "a/socket"),
    "grpc_channel_arguments": ("a.b=1,c=d", "grpc_arguments", (("a.b", 1), ("c", "d"))),
    "poll": (3.0, "loading.poll_seconds", 3.0),
    "load_retries": (2, "loading.max_retries", 2),
    "load_retry_interval": (9.0, "loading.retry_seconds", 9.0),
    "saved_model_tags": ("serve,gpu", "loading.tags", ("serve", "gpu")),
    "labels_of_unavailable": (True, "loading.labels_of_unavailable", True),
    "warmup": ("off", "loading.warm_up", False),
    "warmup_iterations": (4, "loading.warmup_iterations", 4),
    "check_method_names": (True, "check_methods", True),
    "profiler": (True, "profiler", True),
    "max_in_flight": (5, "max_in_flight", 5),
    "max_message_mb": (2, "max_message_bytes", 2 << 20),
    "max_body_mb": (300, "max_body_bytes", 300 << 20),
    "max_connections": (9, "max_connections", 9),
    "head_timeout": (4.0, "head_timeout", 4.0),
    "cors_origin": (["https://pages.example"], "cors_origins", ("https://pages.example",)),
    "slots": (3, "slots", 3),
    "drain": (2.0, "drain_seconds", 2.0),
    "reload_config": ("off", "reload_config", False),
}
FILES = {
    "token_file": "token",
    "reload_token_file": "reload_token",
    "tls_cert": "tls_cert",
    "tls_key": "tls_key",
    "tls_client_ca": "tls_client_ca",
}
# These choose models and files, or are not the server's.
OTHERS = {
    *("model_base", "model_name", "models_config", "models_config_poll", "batching"),
    *("monitoring_config", "grpc_tls_config", "intra_op_threads", "inter_op_threads"),
    "until_stdin_closes",
}


def test_every_argument_is_here():
    """An argument that is added needs a line in this table."""
    arguments = {field.name for field in dataclasses.fields(ServerArguments)}
    assert arguments == {*CHANGES, *FILES, *OTHERS}


@pytest.mark.parametrize("argument", CHANGES)
def test_arguments_reach_the_server(argument):
    given, option, value = CHANGES[argument]
    defaults = _options(ServerArguments())
    options = _options(ServerArguments(**{argument: given}))
    value_of = operator.attrgetter(option)
    assert value_of(options) == value
    assert value_of(defaults) != value


def test_files_reach_the_server(tmp_path):
    """Tokens by content, certificates by name."""
    given = {}
    for argument in FILES:
        path = tmp_path / argument
        path.write_text(f"what {argument} holds\n")
        given[argument] = str(path)
    options = _options(ServerArguments(**given))
    for argument, option in FILES.items():
        path = Path(given[argument])
        expected = path.read_text().strip() if "token" in argument else str(path)
        assert getattr(options, option) == expected
        assert not getattr(_options(ServerArguments()), option)


def test_a_token_for_what_is_switched_off_is_refused(tmp_path):
    (tmp_path / "token").write_text("secret")
    arguments = ServerArguments(reload_config="off", reload_token_file=str(tmp_path / "token"))
    with pytest.raises(UsageError, match="--reload-token-file needs --reload-config on"):
        _options(arguments)


def test_idle_connections_are_kept_as_long_as_libevent_keeps_them():
    """A proxy that keeps connections for longer than the server gets resets."""
    options = _options(ServerArguments(model_base="."))
    assert options.http.keep_alive == 50.0
    server = HttpServer(dataclasses.replace(options.http, port=0), lambda *_: None)
    try:
        assert server._server.config.timeout_keep_alive == 50.0
    finally:
        server._socket.close()
