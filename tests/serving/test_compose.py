"""Compose files, and what Prometheus reads of them, as far as they can be judged without Docker."""

import http.server
import json
import re
import subprocess
import threading
import types
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kubernetes.utils import parse_quantity

import serving
from preprocessing.support.versions import json_with_defaults
from serving.gateway.arguments import GatewayArguments
from serving.server import protos
from serving.server.model_versions import ModelVersion, State
from serving.server.served_model import Target
from serving.server.status_codes import Code
from serving.server.text_config import METRICS_PATH

DEPLOY = Path(serving.__file__).parent / "deploy"


def composed():
    """The two compose files as one."""
    both = [
        yaml.safe_load((DEPLOY / name).read_text())
        for name in ("compose.yaml", "compose.monitoring.yaml")
    ]
    services = {**both[0]["services"], **both[1]["services"]}
    return {"services": services, "volumes": both[1]["volumes"]}


def test_compose_mounts_files_that_exist_and_pins_images():
    compose = composed()
    for name, service in compose["services"].items():
        assert re.search(r":v?\d", service["image"]), name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), volume
            elif not source.startswith("$"):
                assert source in compose["volumes"], volume
        for port in service["ports"]:
            assert port.startswith("127.0.0.1:"), "nothing is open to the network by default"
        for other in service.get("depends_on", ()):
            assert other in compose["services"]
    build = compose["services"]["gateway"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    arguments = compose["services"]["serving"]["command"]
    mounted = {volume.split(":")[1] for volume in compose["services"]["serving"]["volumes"]}
    for argument in arguments:
        if "=/etc/" in argument:
            assert argument.partition("=")[2] in mounted


@pytest.mark.parametrize(
    ("state", "code", "healthy"),
    [
        (State.AVAILABLE, Code.OK, True),
        (State.START, Code.UNAVAILABLE, False),
        (State.END, Code.UNAVAILABLE, False),
    ],
)
def test_health_check_of_the_server_asks_for_a_version_that_answers(state, code, healthy):
    """The command of the file, whose port is that of a server with such a version."""
    version = ModelVersion(1)
    version.set(state, code, "waiting for saved_model.pb")
    status = types.SimpleNamespace(status=lambda target: [version])
    body = json_format.MessageToJson(
        protos.status(status, Target("deepfake", None)),
        preserving_proto_field_name=True,
        **json_with_defaults(),
    )

    class Status(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Status) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        kind, *command = composed()["services"]["serving"]["healthcheck"]["test"]
        assert kind == "CMD"
        command[-1] = command[-1].replace("/8501 ", f"/{server.server_port} ")
        try:
            done = subprocess.run(command, timeout=60)
        finally:
            server.shutdown()
    assert (done.returncode == 0) == healthy


def test_prometheus_scrapes_the_pages_of_server_and_gateway():
    prometheus = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())
    jobs = {job["job_name"]: job for job in prometheus["scrape_configs"]}
    paths = {name: job["metrics_path"] for name, job in jobs.items()}
    assert paths == {"serving": METRICS_PATH, "gateway": "/metrics"}
    assert f'path: "{METRICS_PATH}"' in (DEPLOY / "monitoring.config").read_text()
    assert all((DEPLOY / name).is_file() for name in prometheus["rule_files"])
    compose = composed()
    for name, job in jobs.items():
        host, port = job["static_configs"][0]["targets"][0].split(":")
        assert host == name
        assert host in compose["services"]
        ports = compose["services"][host]["ports"]
        assert port in {published.split(":")[-1] for published in ports}
    source = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text()
    )
    dashboard = json.loads((DEPLOY / "grafana/dashboards/serving.json").read_text())
    for panel in dashboard["panels"]:
        assert panel["datasource"]["uid"] == source["datasources"][0]["uid"]


def test_the_folder_of_uploads_has_room_for_what_the_gateway_may_hold():
    gateway = GatewayArguments()
    files = gateway.workers + gateway.waiting + gateway.jobs
    need = files * gateway.max_bytes + gateway.job_film_bytes
    service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["gateway"]
    (mount,) = service["tmpfs"]
    room = parse_quantity(re.fullmatch(r".+:size=(\d+)g", mount)[1] + "Gi")
    assert room > need
    # What is in it counts as memory.
    assert parse_quantity(service["mem_limit"].replace("g", "Gi")) >= room + (4 << 30)
    deployment = next(yaml.safe_load_all((DEPLOY / "kubernetes" / "gateway.yaml").read_text()))
    pod = deployment["spec"]["template"]["spec"]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "tmp"]
    assert parse_quantity(volume["emptyDir"]["sizeLimit"]) > need
    for command in (service["command"], pod["containers"][0]["args"]):
        changed = [word for word in command if re.match(r"--(workers|waiting|job|max-bytes)", word)]
        assert not changed, "the need is that of the defaults"
