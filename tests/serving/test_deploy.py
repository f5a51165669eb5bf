"""Production files, as far as they can be judged without Docker and without a cluster."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from google.protobuf import text_format
from kubernetes import client
from kubernetes.utils import parse_quantity
from serving_support.rules import alert_rules, queried
from tensorflow_serving.config import model_server_config_pb2

import pipeline
import serving
from pipeline.kubeflow.config import KubeflowConfig
from preprocessing.support.versions import image_name
from serving.gateway.arguments import GatewayArguments
from serving.gateway.metrics import GatewayMetrics
from serving.model.warmup_requests import BATCH_SIZES
from serving.server import tensorflow_model_server
from serving.server.config import models_from_proto
from serving.server.metrics import Metrics
from serving.server.text_config import read_batching_config

DEPLOY = Path(serving.__file__).parent / "deploy"
ROOT = DEPLOY.parents[1]
# Of the volume that tasks and servers share.
VOLUME = Path(pipeline.__file__).parent / "deploy" / "kubernetes" / "volume.yaml"
KUBERNETES = [*sorted((DEPLOY / "kubernetes").glob("*.yaml")), VOLUME]

NAME = "deepfake"


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def find(name, kind):
    found = [
        document
        for document in documents(DEPLOY / "kubernetes" / f"{name}.yaml")
        if document["kind"] == kind
    ]
    assert len(found) == 1
    return found[0]


def claim():
    """Name of the claim that the pipeline's tasks mount by default."""
    volume, job = documents(VOLUME)
    name = volume["metadata"]["name"]
    assert name == KubeflowConfig().volume
    pod = job["spec"]["template"]["spec"]
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == name
    return name


def test_the_job_may_do_what_its_command_does():
    """Without FSETID chmod of another group's folder drops the set-group-ID bit, silently."""
    _claim, job = documents(VOLUME)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert re.search(r"chown .* && chmod 2775 ", container["args"][0])
    capabilities = container["securityContext"]["capabilities"]
    assert capabilities["drop"] == ["ALL"]
    assert {"CHOWN", "FOWNER", "FSETID"} <= set(capabilities["add"])


def model_of(document):
    """The client's class for a manifest."""
    _group, _, version = document["apiVersion"].rpartition("/")
    return f"{version.capitalize()}{document['kind']}"


def check(value, kind, where):
    """Raises AssertionError for keys and types that the Kubernetes API does not have."""
    if match := re.fullmatch(r"list\[(.+)\]", kind):
        assert isinstance(value, list), where
        for number, item in enumerate(value):
            check(item, match[1], f"{where}[{number}]")
    elif match := re.fullmatch(r"dict\(str, (.+)\)", kind):
        assert isinstance(value, dict), where
        for key, item in value.items():
            check(item, match[1], f"{where}.{key}")
    elif kind in ("str", "int", "bool", "float"):
        assert isinstance(value, {"str": str, "int": int, "bool": bool, "float": float}[kind]), (
            f"{where}: {value!r} is no {kind}"
        )
        assert kind == "bool" or not isinstance(value, bool), where
    elif kind != "object":  # An int-or-string.
        cls = getattr(client, kind)
        names = {json_name: name for name, json_name in cls.attribute_map.items()}
        assert isinstance(value, dict), where
        for key, item in value.items():
            # appProtocol is newer than the client; its type is known.
            assert key in names, f"{where}: unknown key {key}"
            check(item, cls.openapi_types[names[key]], f"{where}.{key}")
        # The constructor refuses a missing field that is required.
        cls(**{names[key]: item for key, item in value.items()})


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
def test_kubernetes_manifests_have_only_what_the_api_knows(path):
    for document in documents(path):
        if document["apiVersion"].startswith("serving.kserve.io"):
            continue
        check(document, model_of(document), document["kind"])


def test_the_check_of_manifests_finds_errors():
    deployment = find("serving", "Deployment")
    check(deployment, "V1Deployment", "")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["readynessProbe"] = container["readinessProbe"]
    with pytest.raises(AssertionError, match="readynessProbe"):
        check(deployment, "V1Deployment", "")
    deployment = find("serving", "Deployment")
    deployment["spec"]["replicas"] = "2"
    with pytest.raises(AssertionError, match="no int"):
        check(deployment, "V1Deployment", "")
    deployment = find("serving", "Deployment")
    del deployment["spec"]["selector"]
    with pytest.raises(ValueError, match="selector"):
        check(deployment, "V1Deployment", "")


@pytest.mark.parametrize("name", ["serving", "gateway"])
def test_pods_run_without_privileges_and_with_probes(name):
    pod = find(name, "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
        assert "memory" in container["resources"]["limits"]
        assert re.search(r":[^:]*\d", container["image"]), "images are pinned"


@pytest.mark.parametrize("name", ["serving", "gateway"])
def test_selectors_meet_the_pods_and_ports_have_names(name):
    deployment = find(name, "Deployment")
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"]
    ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
    service = find(name, "Service")
    assert service["spec"]["selector"].items() <= labels.items()
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    budget = find(name, "PodDisruptionBudget")
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert budget["spec"]["minAvailable"] < deployment["spec"]["replicas"]


def test_policy_and_autoscaler_name_what_there_is():
    policy = find("serving", "NetworkPolicy")["spec"]
    gateway = find("gateway", "Deployment")["spec"]["template"]["metadata"]["labels"]
    allowed = policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
    assert allowed.items() <= gateway.items()
    scaler = find("serving", "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == find("serving", "Deployment")["metadata"]["name"]


def test_no_more_servers_are_started_than_workers_ask():
    """A worker of a gateway asks one server at a time, and cuts faces on a core of its own."""
    gateway = find("gateway", "Deployment")["spec"]
    (container,) = gateway["template"]["spec"]["containers"]
    words = [word.partition("=") for word in container["args"]]
    options = {name: value for name, _, value in words}
    workers = int(options.get("--workers", GatewayArguments.workers))
    assert parse_quantity(container["resources"]["requests"]["cpu"]) == workers
    scaler = find("serving", "HorizontalPodAutoscaler")["spec"]
    predictor = find("kserve", "InferenceService")["spec"]["predictor"]
    assert scaler["maxReplicas"] == predictor["maxReplicas"] == gateway["replicas"] * workers


def test_requests_about_a_job_reach_the_gateway_that_has_it():
    assert find("gateway", "Service")["spec"]["sessionAffinity"] == "ClientIP"


def test_volumes_are_mounted_and_claimed():
    pod = find("serving", "Deployment")["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts == set(volumes)
    assert volumes["models"]["persistentVolumeClaim"]["claimName"] == claim()
    assert (
        volumes["config"]["configMap"]["name"] == find("serving", "ConfigMap")["metadata"]["name"]
    )


@pytest.mark.parametrize("name", ["serving", "gateway"])
def test_servers_read_where_pusher_writes(name):
    """Pusher writes OUTPUT/models/NAME, and OUTPUT is the volume's root in docs/kubeflow.md."""
    pod = find(name, "Deployment")["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["models"]["persistentVolumeClaim"]["claimName"] == claim()
    assert mounts["models"]["subPath"] == "models"
    assert mounts["models"]["mountPath"] == "/models"


def test_images_are_those_that_are_built():
    """Their names and tags are copies of setup.py's."""
    jobs = sorted(VOLUME.parent.glob("*.yaml"))
    for paths, image in (
        ([DEPLOY / "compose.yaml", *(DEPLOY / "kubernetes").glob("*.yaml")], image_name("serve")),
        (jobs, image_name()),
    ):
        named = {
            name
            for path in paths
            for name in re.findall(r"deepfake-detection[\w-]*:[\w.]+", path.read_text())
        }
        assert named == {image}


def test_script_builds_the_images_that_are_named(tmp_path):
    """With a program in the engine's place that notes what it was asked."""
    engine = tmp_path / "podman"
    engine.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\n[ "$1" != image ] || echo 1234567890\n'
    )
    engine.chmod(0o755)
    done = subprocess.run(
        ["bash", ROOT / ".ci" / "images"],
        env={**os.environ, "ENGINE": str(engine), "EXTRA_CA": "/ca.pem"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    builds = [
        line for line in (tmp_path / "calls").read_text().splitlines() if line.startswith("build ")
    ]
    for line, target in zip(builds, ("serve", "pipeline"), strict=True):
        image = image_name("serve" if target == "serve" else "")
        assert f"--target {target} --tag {image} " in line
        assert re.search(r"--build-arg RECIPE=[0-9a-f]{16} ", line), "what is mounted is asked for"
        assert "--secret id=ca,src=/ca.pem" in line, "a secret stays out of the image"
        assert f"{image}: 1234 MB" in done.stdout
    assert f"VERSION={image_name().rpartition(':')[2]}" in builds[0]


def test_config_map_holds_the_files_of_this_folder(tmp_path):
    data = find("serving", "ConfigMap")["data"]
    (tmp_path / "batching.config").write_text(data["batching.config"])
    assert read_batching_config(str(tmp_path / "batching.config")) == read_batching_config(
        str(DEPLOY / "batching.config")
    )
    assert _models(data["models.config"]) == _models((DEPLOY / "models.config").read_text())
    arguments = find("serving", "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
    for argument in arguments:
        if "=/etc/serving/" in argument:
            assert argument.rpartition("/")[2] in data


def _models(text):
    message = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    return models_from_proto(message)


def test_clients_of_the_servers_find_added_ones():
    """The name has the address of each server, and is looked up for each file."""
    container = find("serving", "Deployment")["spec"]["template"]["spec"]["containers"][0]
    flags = tensorflow_model_server.parse(container["args"])
    assert not flags.get("grpc_channel_arguments"), "a connection lasts as long as its file"
    assert find("serving", "Service")["spec"]["clusterIP"] == "None"


def test_allowed_batch_sizes_are_those_that_were_warmed_up():
    config = read_batching_config(str(DEPLOY / "batching.config"))
    assert config.allowed_batch_sizes == BATCH_SIZES
    assert config.max_batch_size == BATCH_SIZES[-1]


def test_kserve_service():
    document = find("kserve", "InferenceService")
    assert document["apiVersion"] == "serving.kserve.io/v1beta1"
    model = document["spec"]["predictor"]["model"]
    assert model["modelFormat"] == {"name": "tensorflow"}
    assert model["storageUri"] == f"pvc://{claim()}/models/{NAME}"


def merged(base, overlay):
    """Strategic merge of what a container has: maps are merged, all else is replaced."""
    if not (isinstance(base, dict) and isinstance(overlay, dict)):
        return overlay
    return {
        key: merged(base[key], overlay[key])
        if key in base and key in overlay
        else {**base, **overlay}[key]
        for key in base | overlay
    }


# config/runtimes/kserve-tensorflow-serving.yaml of kserve/kserve at 1a104a2d.
RUNTIME_CONTAINER = {
    "name": "kserve-container",
    "image": "tensorflow/serving",
    "command": ["/usr/bin/tensorflow_model_server"],
    "args": ["--model_name=deepfake", "--port=9000", "--rest_api_port=8080"],
    "securityContext": {"runAsUser": 1000, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}},
    "resources": {
        "requests": {"cpu": "1", "memory": "2Gi"},
        "limits": {"cpu": "1", "memory": "2Gi"},
    },
}


def test_kserve_pod_is_valid_with_the_defaults_of_its_runtime():
    """As pkg/utils/container_merge.go of KServe makes it; Kubernetes refuses it otherwise."""
    predictor = dict(find("kserve", "InferenceService")["spec"]["predictor"])
    model = predictor.pop("model")
    # What the container does not have is the model's.
    overlay = {key: model[key] for key in model if key in client.V1Container.attribute_map.values()}
    container = merged(RUNTIME_CONTAINER, overlay)
    # What scales the predictor is KServe's, the rest a pod's.
    for key in ("minReplicas", "maxReplicas", "timeout"):
        del predictor[key]
    check({**predictor, "containers": [container]}, "V1PodSpec", "pod")
    security = container["securityContext"]
    assert security["runAsUser"] == predictor["securityContext"]["runAsUser"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    requests, limits = (container["resources"][key] for key in ("requests", "limits"))
    assert set(requests) == {"cpu", "memory"}
    for name, amount in requests.items():
        assert parse_quantity(amount) <= parse_quantity(limits[name]), name
    del overlay["resources"]["limits"]["cpu"]
    resources = merged(RUNTIME_CONTAINER, overlay)["resources"]
    assert float(resources["limits"]["cpu"]) < float(resources["requests"]["cpu"]), (
        "the limit is needed: without it the runtime's applies"
    )


def _metric_names():
    names = {"up"}
    for metric in vars(Metrics()).values():
        if metric.kind == "histogram":
            names |= {f"{metric.name}_{part}" for part in ("bucket", "sum", "count")}
        else:
            names.add(metric.name)
    return names | GatewayMetrics().names()


def test_rules_and_dashboard_ask_for_metrics_that_exist():
    rules = alert_rules()
    assert all({"alert", "expr", "labels", "annotations"} <= rule.keys() for rule in rules)
    dashboard = json.loads((DEPLOY / "grafana/dashboards/serving.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    expressions = [rule["expr"] for rule in rules]
    expressions += [target["expr"] for panel in panels for target in panel["targets"]]
    for expression in expressions:
        assert queried(expression), expression
        assert queried(expression) <= _metric_names(), expression
        assert expression.count("(") == expression.count(")")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize("what", [("config", "prometheus.yaml"), ("rules", "alerts.yaml")])
def test_prometheus_accepts_configuration_and_rules(what):
    kind, name = what
    command = ["promtool", "check", kind, "--lint-fatal", str(DEPLOY / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout
