"""The containers of the compose files, Prometheus among them, as tests start and ask them."""

from __future__ import annotations

import json
import shutil
import urllib.parse
import uuid
from pathlib import Path
from typing import Any

from e2e.containers import BASE_IMAGE, ROOT, Container, Podman, request

from benchmarks._harness import free_ports

DEPLOY = ROOT / "serving" / "deploy"
_PORTS = ("SERVING_GRPC_PORT", "SERVING_REST_PORT", "GATEWAY_PORT", "PROMETHEUS_PORT")


def prometheus_of_this_machine(program: str) -> dict[str, Any]:
    """What lets the compose file's Prometheus run without its image: the program, on the base.

    Everything else is the compose file's: network, configuration, rules, volume, other arguments.
    """
    return {
        "image": BASE_IMAGE,
        "entrypoint": [program],
        "working_dir": "/prometheus",
        "volumes": [f"{program}:{program}:ro"],
    }


class Composed:
    """The compose files' containers.

    Args:
      podman: the engine.
      folder: folder for what tests change in them.
      models: folder with the models' folders.

    Attributes:
      address: address of the gateway.
      grpc: host and port of the model server.
      rest: REST URL of the model server.
      services: services that are started; Prometheus where this machine has it.
    """

    def __init__(self, podman: Podman, folder: Path, models: Path):
        ports = dict(zip(_PORTS, map(str, free_ports(len(_PORTS))), strict=True))
        self._podman = podman
        self._variables = {"MODEL_BASE": str(models), "GRAFANA_PASSWORD": "none", **ports}
        self._project = f"deepfake-{uuid.uuid4().hex[:8]}"
        self.address = f"http://127.0.0.1:{ports['GATEWAY_PORT']}"
        self.grpc = f"127.0.0.1:{ports['SERVING_GRPC_PORT']}"
        self.rest = f"http://127.0.0.1:{ports['SERVING_REST_PORT']}"
        self.services = ["serving", "gateway"]
        self._files = [DEPLOY / "compose.yaml"]
        if program := shutil.which("prometheus"):
            changed = folder / "prometheus.json"
            services = {"prometheus": prometheus_of_this_machine(program)}
            changed.write_text(json.dumps({"services": services}))
            self._files += [DEPLOY / "compose.monitoring.yaml", changed]
            self.services += ["prometheus"]

    def __call__(self, *arguments: str, check: bool = True) -> None:
        """podman-compose."""
        files = [word for path in self._files for word in ("--file", path)]
        command = ("podman-compose", *files, "--project-name", self._project, *arguments)
        self._podman.program(*command, check=check, **self._variables)

    def container(self, service: str) -> Container:
        """That of a service."""
        labels = {
            "com.docker.compose.project": self._project,
            "com.docker.compose.service": service,
        }
        filters = [f"--filter=label={key}={value}" for key, value in labels.items()]
        (name,) = self._podman("ps", "--all", *filters, "--format={{.Names}}").stdout.split()
        return Container(self._podman, name)

    def log(self) -> str:
        """Of all."""
        return "\n".join(self.container(service).log() for service in self.services)

    def in_flight(self) -> int:
        """Requests that the model server answers now."""
        _, page = request(f"{self.rest}/monitoring/prometheus/metrics", timeout=10)
        name = ":deepfake:serving:in_flight{}"
        return sum(int(line.split()[1]) for line in page.splitlines() if line.startswith(name))

    def prometheus(self, path: str, **query: str) -> Any:
        """What Prometheus answers under `/api/v1/`."""
        words = f"?{urllib.parse.urlencode(query)}" if query else ""
        url = f"http://127.0.0.1:{self._variables['PROMETHEUS_PORT']}/api/v1/{path}{words}"
        status, answer = request(url, timeout=30)
        assert status in (0, 200, 503), answer
        return answer["data"] if status == 200 else None
