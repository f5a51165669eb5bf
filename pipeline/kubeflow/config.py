"""Configuration of Kubeflow Pipelines and Vertex AI: `kubeflow`."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from pipeline.kubeflow.buckets import FOLDERS, has_folder
from preprocessing.support.nearest import nearest
from preprocessing.support.section import Section, Text, Texts

# Ids of the nodes that a compiled pipeline may hold.
NODES = (
    "FaceExtractor",
    "StatisticsGen",
    "ImportSchemaGen",
    "ExampleValidator",
    "Transform",
    "Tuner",
    "Trainer",
    "BlessedModel",
    "Evaluator",
    "ClipEvaluator",
    "ServingCheck",
    "Pusher",
    "Report",
)
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_AMOUNTS = ("cpu", "memory", "gpus")
# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names
_KUBERNETES_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class KubeflowConfig(Section):
    """What the tasks of a compiled pipeline run in; see docs/kubeflow.md and docs/vertex.md."""

    image: Text = Field(
        "",
        description="Image with this project installed; empty takes that of "
        "serving/deploy/Dockerfile.",
    )
    root: Text = Field(
        "",
        description="Folder of the artifacts in an object store, as in s3://BUCKET/FOLDER; empty "
        "takes Kubeflow's own, or on Vertex AI the folder artifacts of `output`.",
    )
    volume: Text = Field(
        "deepfake",
        description="PersistentVolumeClaim with `data` and `output`, for Kubeflow; not mounted "
        "where both are buckets.",
    )
    mount_path: Text = Field(
        "/mnt/deepfake",
        description="Where tasks find the volume; on Vertex AI /gcs/BUCKET, where it has buckets.",
    )
    local_mount: Text = Field(
        "", description="Where this machine has what tasks find there; empty: at the same path."
    )
    pull_secrets: Texts = Field((), description="Secrets that the image is pulled with.")
    secrets: Texts = Field(
        (),
        description="Keys of Secrets that tasks have as environment variables of the same name, "
        "as in bucket:AWS_ACCESS_KEY_ID; for data and output in buckets.",
    )
    resources: Texts = Field(
        (),
        description="Of a node: cpu (cores), memory (GB), gpus, as in "
        "Trainer:cpu=8,memory=32,gpus=1; without NODE: for all others.",
    )
    gpu_type: Text = Field(
        "nvidia.com/gpu",
        description="Name of the GPU's resource; on Vertex AI a type such as NVIDIA_TESLA_T4.",
    )
    node_selector: Texts = Field(
        (), description="Labels of the machines, as in disk=ssd or Trainer:gpu=a100."
    )
    tolerations: Texts = Field(
        (),
        description="Taints of machines that tasks may run on, as in gpu=yes:NoSchedule or "
        "Trainer:gpu=yes:NoSchedule.",
    )
    retries: Annotated[int, Field(ge=0, le=10)] = Field(
        0, description="How often a failed task is started again."
    )

    @field_validator("root")
    @classmethod
    def _check_root(cls, root: str) -> str:
        if root and not has_folder(root):
            schemes = ", ".join(f"{scheme}://" for scheme in FOLDERS)
            raise ValueError(f"{root!r} must begin with one of {schemes}; nothing else is accepted")
        return root.rstrip("/")

    @field_validator("volume", "pull_secrets")
    @classmethod
    def _check_names(cls, value: Any) -> Any:
        for name in (value,) if isinstance(value, str) else value:
            if name and not _KUBERNETES_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a Kubernetes object")
        return value

    @field_validator("mount_path", "local_mount")
    @classmethod
    def _check_mount_path(cls, path: str, info: ValidationInfo) -> str:
        if not path and info.field_name == "local_mount":
            return path
        if not PurePosixPath(path).is_absolute() or path.rstrip("/") == "":
            raise ValueError(f"{path!r} must be an absolute path below /")
        return path.rstrip("/")

    @field_validator("resources")
    @classmethod
    def _check_resources(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            _amounts(_node_and_setting(text)[1])
        return texts

    @field_validator("secrets")
    @classmethod
    def _check_secrets(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            secret, _, key = text.partition(":")
            if not _KUBERNETES_NAME.fullmatch(secret) or not _VARIABLE.fullmatch(key):
                raise ValueError(f"{text!r}: write it as SECRET:KEY, as in bucket:AWS_REGION")
        return texts

    @field_validator("node_selector")
    @classmethod
    def _check_labels(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            label, equals, _ = _node_and_setting(text)[1].partition("=")
            if not label or not equals:
                raise ValueError(f"{text!r}: write it as LABEL=VALUE or NODE:LABEL=VALUE")
        return texts

    @field_validator("tolerations")
    @classmethod
    def _check_tolerations(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            toleration(_node_and_setting(text, colons=1)[1])
        return texts

    @property
    def here(self) -> str:
        """Where the volume is on this machine."""
        return self.local_mount or self.mount_path

    def in_pods(self, path: str) -> str:
        """The path at which tasks find a file of the volume; others are returned as they are."""
        if path == self.here or path.startswith(f"{self.here}/"):
            return self.mount_path + path.removeprefix(self.here)
        return path

    def amounts_of(self, node: str) -> dict[str, float]:
        """What a node asks for: `cpu` (cores), `memory` (GB) and `gpus`, each only if it is set."""
        general: dict[str, float] = {}
        of_node: dict[str, float] = {}
        for text in self.resources:
            name, setting = _node_and_setting(text)
            if not name:
                general |= _amounts(setting)
            elif name == node:
                of_node |= _amounts(setting)
        return of_node or general

    def secrets_as_variables(self) -> list[dict[str, Any]]:
        """The secrets as the platform document has them: each with its keys and their variables."""
        keys: dict[str, list[str]] = {}
        for secret, _, key in (text.partition(":") for text in self.secrets):
            keys.setdefault(secret, []).append(key)
        return [
            {"secretName": secret, "keyToEnv": [{"secretKey": key, "envVar": key} for key in names]}
            for secret, names in keys.items()
        ]

    def labels_of(self, node: str) -> dict[str, str]:
        """Labels that a machine needs for a node."""
        pairs = (_node_and_setting(text) for text in self.node_selector)
        chosen = (setting.partition("=") for name, setting in pairs if name in ("", node))
        return {label: value for label, _, value in chosen}

    def tolerations_of(self, node: str) -> list[dict[str, str]]:
        """Tolerations of a node, as Kubernetes writes them."""
        pairs = (_node_and_setting(text, colons=1) for text in self.tolerations)
        return [toleration(setting) for name, setting in pairs if name in ("", node)]


def toleration(text: str) -> dict[str, str]:
    """A toleration, as Kubernetes writes it, of a taint as kubectl writes it.

    >>> toleration("gpu=yes:NoSchedule")
    {'key': 'gpu', 'operator': 'Equal', 'value': 'yes', 'effect': 'NoSchedule'}

    Raises:
      ValueError: the text is no taint.
    """
    taint, colon, effect = text.rpartition(":")
    key, equals, value = taint.partition("=")
    if not colon or not key or effect not in EFFECTS:
        raise ValueError(
            f"{text!r}: write it as KEY=VALUE:EFFECT or KEY:EFFECT; effects are "
            f"{', '.join(EFFECTS)}"
        )
    if not equals:
        return {"key": key, "operator": "Exists", "effect": effect}
    return {"key": key, "operator": "Equal", "value": value, "effect": effect}


def _node_and_setting(text: str, colons: int = 0) -> tuple[str, str]:
    """The node before the first colon; empty where there are only as many as the setting has."""
    if text.count(":") <= colons and text.partition(":")[0] not in NODES:
        return "", text
    node, _, setting = text.partition(":")
    if node not in NODES:
        raise ValueError(f"{text!r}: there is no node {node!r}{nearest(node, NODES)}")
    return node, setting


def _amounts(text: str) -> dict[str, float]:
    amounts: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        if name not in _AMOUNTS:
            raise ValueError(f"{part!r}: write cpu=, memory= or gpus=, separated by commas")
        try:
            amounts[name] = float(number)
        except ValueError:
            raise ValueError(f"{part!r}: {number!r} is not a number") from None
        is_whole_number = name == "gpus"
        if not 0 < amounts[name] <= 1e5 or (is_whole_number and not amounts[name].is_integer()):
            raise ValueError(f"{part!r}: {number} is no amount of {name}")
    return amounts
