"""When TFX's InfraValidator may be asked for. No Docker daemon is needed: a socket plays it."""

import http.server
import json
import threading

import docker
import pytest

from components.serving_check.config import ServingConfig
from pipeline.config import load_config
from pipeline.infra_validation import check_platform
from pipeline.run import WRONG_USAGE, run
from preprocessing.support.errors import UsageError
from preprocessing.support.versions import TENSORFLOW_SERVING


def test_none_asks_nobody():
    for kubeflow in (False, True):
        check_platform(ServingConfig(), kubeflow)


def test_kubeflow_is_refused():
    with pytest.raises(UsageError, match="does not compile InfraValidator"):
        check_platform(ServingConfig(infra_validator="docker"), kubeflow=True)


def test_a_misspelt_platform_is_refused():
    with pytest.raises(UsageError, match="did you mean 'docker'"):
        load_config("folder", ["serving.infra_validator=doker"])


@pytest.fixture
def daemon(monkeypatch):
    """Starts what docker-py takes for a daemon, once called."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = b'{"ApiVersion": "1.41"}' if self.path.endswith("/version") else b"OK"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    original = docker.DockerClient

    def client(**parameters):
        return original(base_url=f"tcp://127.0.0.1:{server.server_port}", **parameters)

    monkeypatch.setattr(docker, "DockerClient", client)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    yield thread.start
    if thread.is_alive():
        server.shutdown()
    server.server_close()


def test_a_daemon_that_answers_is_enough(daemon):
    daemon()
    check_platform(ServingConfig(infra_validator="docker"), kubeflow=False)


def test_without_a_daemon_a_run_is_refused_at_once(tmp_path, monkeypatch, capfd):
    original = docker.DockerClient
    monkeypatch.setattr(
        docker, "DockerClient", lambda **_: original(base_url=f"unix://{tmp_path}/no.sock")
    )
    output = tmp_path / "out"
    changes = [f"output={output}", "serving.infra_validator=docker"]
    assert run(load_config("demo", changes)) == WRONG_USAGE
    said = capfd.readouterr().out
    assert "error: serving.infra_validator is docker, but no Docker daemon answers" in said
    assert "Traceback" not in said
    assert not (output / "demo-data").exists()


@pytest.mark.integration
def test_infra_validator_and_serving_check_must_both_bless(tmp_path):
    """The DAG with the option, compiled as LocalDagRunner compiles it."""
    from tfx.dsl.compiler import compiler

    from pipeline.inputs import Inputs
    from pipeline.pipeline import create_pipeline

    config = load_config("demo", [f"output={tmp_path}", "serving.infra_validator=docker"])
    inputs = Inputs("manifest.csv", "0" * 64, "data", "schema.pbtxt", "failures.json")
    compiled = compiler.Compiler().compile(create_pipeline(config, inputs))
    nodes = {node.pipeline_node.node_info.id: node.pipeline_node for node in compiled.nodes}

    def maker_of(node, key):
        (channel,) = nodes[node].inputs.inputs[key].channels
        return channel.producer_node_query.id

    # Pusher takes one such blessing, and ServingCheck gives none without InfraValidator's.
    assert maker_of("ServingCheck", "infra_blessing") == "InfraValidator"
    assert maker_of("Pusher", "infra_blessing") == "ServingCheck"
    assert maker_of("Pusher", "model_blessing") == "ClipEvaluator"
    values = nodes["InfraValidator"].parameters.parameters
    serving = json.loads(values["serving_spec"].field_value.string_value)
    assert serving == {"local_docker": {}, "tensorflow_serving": {"tags": [TENSORFLOW_SERVING]}}
    request = json.loads(values["request_spec"].field_value.string_value)
    assert request["tensorflow_serving"] == {"signature_names": ["serving_examples"]}
    assert request["split_name"] == "test"
