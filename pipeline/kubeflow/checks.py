"""What is refused before a pipeline is compiled for a cluster, or submitted to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pipeline.kubeflow.config import KubeflowConfig
from preprocessing.support.errors import UsageError
from preprocessing.support.storage.bucket_path import is_remote

Target = Literal["kubeflow", "vertex"]

# https://github.com/distribution/reference: HOST[:PORT]/PATH[:TAG][@DIGEST]
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    r"(?:(?P<host>[a-zA-Z0-9.-]+(?::\d+)?)/)?"
    rf"{_PART}(?:/{_PART})*"
    r"(?P<tag>:[\w][\w.-]{0,127})?(?P<digest>@sha256:[0-9a-f]{64})?"
)


def check_image(image: str, target: Target) -> None:
    """Refuses an image that the machines of a cluster cannot pull, or that may change.

    Args:
      image: full name of the image.
      target: platform that it is to run on.

    Raises:
      UsageError: it is no name of an image, has no registry (on Vertex AI: none of Google's), or
        neither a version nor a digest.
    """
    match = _IMAGE.fullmatch(image)
    if not match:
        raise UsageError(f"the image {image!r} is no name of an image: HOST/NAME:TAG")
    host = match["host"] or ""
    # As Docker tells a host from a first folder.
    if "." not in host and ":" not in host and host != "localhost":
        raise UsageError(
            f"the image {image!r} names no registry, so a cluster cannot pull it; push it to one "
            f"and give its full name: --image HOST/{image}"
        )
    if match["tag"] in (None, ":latest") and not match["digest"]:
        raise UsageError(
            f"the image {image!r} has no version: caches of the cluster would not see that it has "
            "changed; give a tag other than latest, or a digest"
        )
    if target == "vertex" and not host.endswith((".pkg.dev", "gcr.io")):
        raise UsageError(
            f"the image {image!r} is not in Artifact Registry, from which alone Vertex AI pulls: "
            "REGION-docker.pkg.dev/PROJECT/REPOSITORY/NAME:TAG"
        )


def check_target(kubeflow: KubeflowConfig, target: Target) -> None:
    """Refuses a configuration under which tasks would find no data.

    Raises:
      UsageError: no volume is named, or on Vertex AI the mounted folder or the root is no bucket
        of Cloud Storage.
    """
    if target == "kubeflow":
        if not kubeflow.volume:
            raise UsageError(
                "kubeflow.volume is empty: tasks read the data and write the models on a volume; "
                "name its PersistentVolumeClaim, or give buckets as --data and --output"
            )
        return
    if not re.fullmatch(r"/gcs/[^/]+(?:/.+)?", kubeflow.mount_path):
        raise UsageError(
            f"kubeflow.mount_path is {kubeflow.mount_path}, and Vertex AI mounts buckets of Cloud "
            "Storage only, at /gcs: set it to /gcs/BUCKET"
        )
    if kubeflow.root and not kubeflow.root.startswith("gs://"):
        raise UsageError(f"kubeflow.root is {kubeflow.root}, and Vertex AI writes to gs:// only")


def check_places(
    kubeflow: KubeflowConfig, places: Mapping[str, str], buckets: bool = False
) -> None:
    """Refuses paths of this machine that tasks cannot see.

    Args:
      kubeflow: the section of the configuration.
      places: key of the configuration -> absolute path, or URI; an empty path is not looked at.
      buckets: whether tasks read and write URIs.

    Raises:
      UsageError: a path is not below the mounted folder, or a URI cannot be used.
    """
    for key, path in places.items():
        if is_remote(path):
            if buckets and key != "model.weights":
                continue
            raise UsageError(
                f"{key}: {path} cannot be read there; name it by its path in a mounted folder"
            )
        if path and not f"{path}/".startswith(f"{kubeflow.here}/"):
            raise UsageError(
                f"{key}: {path} is on this machine alone, as tasks see {kubeflow.here} only; move "
                "it there, or set kubeflow.local_mount to where the volume is on this machine"
            )
