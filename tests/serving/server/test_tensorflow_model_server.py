"""The binary's flags, and the files that they name."""

import dataclasses

import pytest

from preprocessing.support.errors import UsageError
from serving.server import tensorflow_model_server
from serving.server.arguments import ServerArguments
from serving.server.main import _channel_arguments
from serving.server.text_config import read_metrics_path, read_tls_file


def translated(*arguments):
    return tensorflow_model_server.translate(tensorflow_model_server.parse(arguments))


def test_every_flag_of_the_binary_is_known():
    names = """allow_version_labels_for_unavailable_models batching_parameters_file enable_batching
    enable_grpc_healthcheck_service enable_model_warmup enable_per_model_batching_parameters
    enable_profiler enable_serialization_as_tensor_content enable_signature_method_name_check
    file_system_poll_wait_seconds flush_filesystem_caches grpc_channel_arguments grpc_max_threads
    grpc_socket_path load_retry_interval_micros max_num_load_retries mixed_precision model_base_path
    model_config_file model_config_file_poll_wait_seconds model_name monitoring_config_file
    num_load_threads num_request_iterations_for_warmup num_tflite_interpreters_per_pool
    num_tflite_pools num_unload_threads per_process_gpu_memory_fraction platform_config_file port
    prefer_tflite_model remove_unused_fields_from_bundle_metagraph rest_api_enable_cors_support
    rest_api_num_threads rest_api_port rest_api_timeout_in_ms saved_model_tags skip_initialize_tpu
    ssl_config_file tensorflow_inter_op_parallelism tensorflow_intra_op_parallelism
    tensorflow_session_config_file tensorflow_session_parallelism thread_pool_factory_config_file
    use_alts_credentials version xla_cpu_compilation_enabled xla_gpu_compilation_enabled"""
    assert sorted(tensorflow_model_server.parse([])) == sorted(names.split())


def test_defaults_are_those_of_the_binary():
    given = translated("--model_base_path=/models/m")
    ours = ServerArguments(model_base="/models/m")
    changed = {
        field.name: getattr(given, field.name)
        for field in dataclasses.fields(ServerArguments)
        if getattr(given, field.name) != getattr(ours, field.name)
    }
    assert changed == {
        "model_name": "default",
        "host": "0.0.0.0",  # noqa: S104
        "rest_port": 0,
        "no_rest": True,
        "profiler": True,
        "max_message_mb": 1024,
        "max_body_mb": 2048,
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--port=1", "--rest_api_port=2"], {"port": 1, "rest_port": 2, "no_rest": False}),
        (["--grpc_socket_path=/run/s"], {"grpc_socket_path": "/run/s"}),
        (["--rest_api_timeout_in_ms=1500"], {"rest_timeout": 1.5}),
        (["--rest_api_enable_cors_support"], {"cors_origin": ["*"]}),
        (["--enable_batching=true"], {"batching": "/dev/null"}),
        (["--batching_parameters_file=f"], {"batching": None}),
        (["--enable_batching", "--batching_parameters_file=f"], {"batching": "f"}),
        (["--model_config_file=f"], {"models_config": "f", "model_base": None}),
        (["--model_config_file=f", "--model_config_file_poll_wait_seconds=5"],
         {"models_config_poll": 5}),
        (["--allow_version_labels_for_unavailable_models=1"], {"labels_of_unavailable": True}),
        (["--max_num_load_retries=0", "--load_retry_interval_micros=-1"],
         {"load_retries": 0, "load_retry_interval": 0}),
        (["--file_system_poll_wait_seconds=0"], {"poll": 0}),
        (["--tensorflow_session_parallelism=3", "--tensorflow_intra_op_parallelism=2"],
         {"intra_op_threads": 2, "inter_op_threads": 3}),
        (["--enable_model_warmup=false", "--num_request_iterations_for_warmup=3"],
         {"warmup": "off", "warmup_iterations": 3}),
        (["--saved_model_tags=serve,gpu"], {"saved_model_tags": "serve,gpu"}),
        (["--enable_signature_method_name_check"], {"check_method_names": True}),
        (["--ssl_config_file=f", "--monitoring_config_file=g"],
         {"grpc_tls_config": "f", "monitoring_config": "g"}),
        (["--enable_profiler=false"], {"profiler": False}),
    ],
)  # fmt: skip
def test_flags(arguments, expected):
    given = translated("--model_base_path=m", *arguments)
    assert {name: getattr(given, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model_base_pth=m"], "unknown argument '--model_base_pth=m'.*model_base_path"),
        (["-port=1"], "unknown argument '-port=1'"),
        (["m"], "unknown argument 'm'"),
        (["--port=many"], "'--port=many' is no value of --port"),
        (["--port"], "'--port' is no value of --port"),
        (["--enable_batching=perhaps"], "no value of --enable_batching"),
        ([], "give --model_base_path or --model_config_file"),
    ],
)
def test_flags_that_are_wrong(arguments, message):
    with pytest.raises(UsageError, match=message):
        translated(*arguments)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--rest_api_port=99999", "--rest_api_port "),
        ("--file_system_poll_wait_seconds=-1", "--file_system_poll_wait_seconds "),
        ("--rest_api_timeout_in_ms=-5", "--rest_api_timeout_in_ms "),
        ("--model_base_path=/models/none", "/models/none is not a folder"),
        ("--grpc_channel_arguments=x", "--grpc_channel_arguments: 'x' is not NAME=VALUE"),
    ],
)
def test_messages_name_the_flags_of_the_binary(monkeypatch, capsys, tmp_path, argument, message):
    arguments = ["tensorflow_model_server", f"--model_base_path={tmp_path}", argument]
    monkeypatch.setattr("sys.argv", arguments)
    assert tensorflow_model_server.main() == 2
    assert capsys.readouterr().err.startswith(f"tensorflow_model_server: {message}")


def test_channel_arguments():
    text = "grpc.max_connection_age_ms=2000,grpc.lb_policy_name=grpclb"
    assert _channel_arguments(text) == (
        ("grpc.max_connection_age_ms", 2000),
        ("grpc.lb_policy_name", "grpclb"),
    )
    with pytest.raises(UsageError, match=r"'grpc\.x' is not NAME=VALUE"):
        _channel_arguments("grpc.x")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ('prometheus_config { enable: true path: "/m" }', "/m"),
        ('prometheus_config { path: "/m" }', ""),
        ("", ""),
    ],
)
def test_monitoring_file(tmp_path, text, path):
    file = tmp_path / "monitoring.config"
    file.write_text(text)
    assert read_metrics_path(str(file)) == path


def test_tls_file(tmp_path):
    file = tmp_path / "tls.config"
    file.write_text('server_key: "k" server_cert: "c" custom_ca: "a"')
    tls = read_tls_file(str(file))
    assert (tls.key, tls.certificate, tls.client_ca) == ("k", "c", "")
    file.write_text('server_key: "k" server_cert: "c" custom_ca: "a" client_verify: true')
    assert read_tls_file(str(file)).client_ca == "a"
    for text, message in (
        ('server_key: "k"', "server_key and server_cert are needed"),
        ('server_key: "k" server_cert: "c" client_verify: true', "client_verify needs custom_ca"),
        ("improperly formatted", "Error parsing text-format tensorflow.serving.SSLConfig"),
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match=message):
            read_tls_file(str(file))
