"""Object stores as folders: where Kubeflow's launcher and Vertex AI show buckets in a container.

Kubeflow's launcher downloads input artifacts to these folders and uploads output artifacts from
them; Vertex AI mounts Cloud Storage at `/gcs`. Artifacts are named by URI everywhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Scheme of a URI -> folder, below the root, that holds the buckets.
FOLDERS = {"gs": "gcs", "s3": "s3", "minio": "minio"}


class Buckets:
    """Translates between URIs of object stores and paths in the container.

    >>> buckets = Buckets()
    >>> buckets.local("minio://mlpipeline/v2/artifacts/model")
    '/minio/mlpipeline/v2/artifacts/model'
    >>> buckets.remote("/gcs/bucket/model")
    'gs://bucket/model'
    >>> buckets.local("/mnt/volume/model")
    '/mnt/volume/model'

    Args:
      root: folder that holds the folders of `FOLDERS`.
    """

    def __init__(self, root: str = "/"):
        self._folders = {
            f"{scheme}://": f"{root.rstrip('/')}/{name}/" for scheme, name in FOLDERS.items()
        }

    def local(self, uri: str) -> str:
        """The path of a URI; a text that is no URI of an object store is returned as it is."""
        for scheme, folder in self._folders.items():
            if uri.startswith(scheme):
                return folder + uri.removeprefix(scheme)
        return uri

    def remote(self, path: str) -> str:
        """The URI of a path; a text that is no path of a bucket is returned as it is."""
        for scheme, folder in self._folders.items():
            if path.startswith(folder):
                return scheme + path.removeprefix(folder)
        return path

    def bucket_folder(self, uri: str) -> str | None:
        """The folder of the bucket of a URI; None for a text that is no such URI."""
        if not has_folder(uri):
            return None
        scheme, _, rest = uri.partition("://")
        return self.local(f"{scheme}://{rest.partition('/')[0]}")


def has_folder(uri: str) -> bool:
    """Whether a URI names an object store that is a folder in the container, see `FOLDERS`."""
    return uri.startswith(tuple(f"{scheme}://" for scheme in FOLDERS))


def texts_changed(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with every text in its lists and objects changed; keys stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [texts_changed(item, change) for item in value]
    if isinstance(value, dict):
        return {key: texts_changed(item, change) for key, item in value.items()}
    return value
