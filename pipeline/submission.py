"""Submits a compiled pipeline to Kubeflow Pipelines or Vertex AI."""

from __future__ import annotations

import dataclasses
import datetime
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preprocessing.support.errors import UsageError
from preprocessing.support.quiet import quiet

if TYPE_CHECKING:
    from pipeline.config import Config

# Seconds until a host that does not answer is given up.
_PATIENCE = 10.0


@dataclasses.dataclass(frozen=True)
class KubeflowPlace:
    """A Kubeflow Pipelines API.

    Attributes:
      host: URL of the API, as in https://kubeflow.example/pipeline.
      namespace: namespace of the run and of the volume.
      experiment: name of the experiment that the run belongs to.
      token: bearer token; empty sends none.
    """

    host: str
    namespace: str
    experiment: str
    token: str = ""


@dataclasses.dataclass(frozen=True)
class VertexPlace:
    """A project of Google Cloud.

    Attributes:
      project: id of the project.
      region: name of the region, as in europe-west4.
      service_account: account that tasks run as; empty takes the project's default.
      network: full name of the VPC that tasks are peered with; empty for none.
    """

    project: str
    region: str
    service_account: str = ""
    network: str = ""


def check_host(place: KubeflowPlace) -> None:
    """Asks the API whether it is there.

    Raises:
      UsageError: nothing answers, or what answers is not Kubeflow Pipelines 2 or wants a token.
    """
    import httpx

    if not place.host.startswith(("http://", "https://")):
        raise UsageError(f"--host {place.host}: write it as a URL, http://... or https://...")
    headers = {"Authorization": f"Bearer {place.token}"} if place.token else {}
    url = f"{place.host.rstrip('/')}/apis/v2beta1/healthz"
    try:
        answer = httpx.get(url, headers=headers, timeout=_PATIENCE)
    except httpx.HTTPError as error:
        raise UsageError(f"--host {place.host} does not answer: {error}") from error
    if answer.status_code in (301, 302, 303, 307, 308, 401, 403):
        raise UsageError(
            f"--host {place.host} wants to know who asks (status {answer.status_code}); give a "
            "token with --token-file"
        )
    try:
        answer.raise_for_status().json()
    except (httpx.HTTPError, json.JSONDecodeError) as error:
        raise UsageError(
            f"--host {place.host} is no API of Kubeflow Pipelines 2: {url} answers "
            f"with status {answer.status_code}"
        ) from error


def check_volume(volume: str, namespace: str) -> str:
    """Looks for the volume with the cluster's credentials of this machine, where it has any.

    Args:
      volume: name of the PersistentVolumeClaim.
      namespace: namespace that the volume has to be in.

    Returns:
      What is known now, one sentence.

    Raises:
      UsageError: the cluster has no such volume.
    """
    from kubernetes import client, config
    from urllib3.exceptions import HTTPError

    try:
        config.load_kube_config()
        api = client.CoreV1Api()
        api.read_namespaced_persistent_volume_claim(volume, namespace, _request_timeout=_PATIENCE)
    except client.ApiException as error:
        if error.status == 404:
            raise UsageError(
                f"the namespace {namespace} has no PersistentVolumeClaim {volume}; create it, or "
                "set kubeflow.volume to the one with the data"
            ) from error
        return f"the volume {volume} was not looked for: the cluster answers {error.status}"
    except (config.ConfigException, HTTPError):
        return (
            f"the volume {volume} was not looked for: no cluster can be asked with kubectl's file"
        )
    return f"the volume {volume} exists"


def submit_kubeflow(package: Path, config: Config, place: KubeflowPlace, cache: bool = True) -> str:
    """Starts a run of a package.

    Args:
      package: file of `pipeline.compilation.compile_file`.
      config: the run's configuration.
      place: API of Kubeflow Pipelines.
      cache: False runs every task, whatever was run before.

    Returns:
      The id of the run.

    Raises:
      UsageError: the API refuses it; its reason is told.
    """
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import kfp_server_api
        from kfp import client as kfp_client

        try:
            run = kfp_client.Client(
                host=place.host, namespace=place.namespace, existing_token=place.token or None
            ).create_run_from_pipeline_package(
                str(package),
                run_name=f"{config.name} {datetime.datetime.now():%Y-%m-%d %H:%M:%S}",
                experiment_name=place.experiment,
                namespace=place.namespace,
                pipeline_root=config.kubeflow.root or None,
                enable_caching=None if cache else False,
            )
        except kfp_server_api.ApiException as error:
            raise UsageError(f"{place.host} refuses the run: {_reason(error)}") from error
    return str(run.run_id)


def make_vertex_job(file: Path, job: dict[str, Any], place: VertexPlace, cache: bool = True) -> Any:
    """The job as Vertex AI's client has it; nothing is sent.

    Args:
      file: file of `pipeline.compilation.compile_file`.
      job: content of the file.
      place: project that the job is to run in.
      cache: whether tasks may be cached, as of `submit_kubeflow`.

    Raises:
      google.auth.exceptions.GoogleAuthError: there are no credentials.
    """
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from google.cloud import aiplatform

        return aiplatform.PipelineJob(
            display_name=job["displayName"],
            template_path=str(file),
            pipeline_root=job["runtimeConfig"]["gcsOutputDirectory"],
            project=place.project,
            location=place.region,
            enable_caching=None if cache else False,
        )


def submit_vertex(file: Path, job: dict[str, Any], place: VertexPlace, cache: bool = True) -> str:
    """Starts a job.

    Args:
      file: file of `pipeline.compilation.compile_file`.
      job: content of the file.
      place: project that the job is to run in.
      cache: whether tasks may be cached, as of `submit_kubeflow`.

    Returns:
      The job's full name.

    Raises:
      UsageError: there are no credentials, or Vertex AI refuses the job; its reason is told.
    """
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        vertex_job = make_vertex_job(file, job, place, cache)
        vertex_job.submit(
            service_account=place.service_account or None, network=place.network or None
        )
    except GoogleAuthError as error:
        raise UsageError(
            "there are no credentials for Google Cloud; run `gcloud auth application-default "
            f"login` ({error})"
        ) from error
    except GoogleAPIError as error:
        raise UsageError(f"Vertex AI refuses the job: {error}") from error
    return str(vertex_job.resource_name)


def _reason(error: Any) -> str:
    """What the API says, without headers; it answers with a JSON object."""
    try:
        body = json.loads(error.body or "{}")
    except json.JSONDecodeError:
        body = {}
    return str(body.get("message") or body.get("error") or f"status {error.status}")
