"""Names of a compiled pipeline: what it is called, its image, and where its artifacts are."""

from __future__ import annotations

import re

from pipeline.kubeflow.buckets import Buckets
from pipeline.kubeflow.config import KubeflowConfig
from preprocessing.support.errors import UsageError
from preprocessing.support.versions import image_name

# TFX's compiler and Vertex AI want [a-z0-9][a-z0-9-]{0,127}.
_LONGEST_NAME = 128


def pipeline_name(name: str) -> str:
    """The name of a compiled pipeline: lower case, and `-` for `_`.

    TFX's compiler, Vertex AI and Kubernetes accept no other characters.

    >>> pipeline_name("celeb_df_v2")
    'celeb-df-v2'

    Raises:
      UsageError: the name holds characters that have no such form, or is too long.
    """
    normalised = name.lower().replace("_", "-").strip("-")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", normalised) or len(normalised) > _LONGEST_NAME:
        raise UsageError(
            f"name: {name!r} cannot name a pipeline of Kubeflow or Vertex AI, which takes up to "
            f"{_LONGEST_NAME} letters a to z, digits and '-'"
        )
    return normalised


def task_name(node: str) -> str:
    """The name of a node's task, in the form that the SDK of Kubeflow Pipelines gives to names.

    Kubeflow 2.4 and 2.5 name the pods of a task that may be retried after it (v2/compiler/
    argocompiler/container.go, addContainerExecutorTemplate), and Kubernetes refuses capitals there.

    >>> task_name("ImportSchemaGen")
    'import-schema-gen'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", node).lower()


def image_of(kubeflow: KubeflowConfig, given: str | None = None) -> str:
    """The image that tasks run in: the one that is given, the configured one, or the project's."""
    return given or kubeflow.image or image_name()


def artifacts_root(kubeflow: KubeflowConfig, output: str) -> str:
    """Folder of the artifacts: the configured one, or that of the run's output as tasks see it.

    >>> artifacts_root(KubeflowConfig(), "/gcs/bucket/run")
    'gs://bucket/run/artifacts'
    """
    return kubeflow.root or Buckets().remote(kubeflow.in_pods(f"{output}/artifacts"))
