"""Where Beam runs: the texts of `beam` as Beam's arguments, node by node.

    beam: ["runner=portable,job_endpoint=HOST:8099", "environment_type=LOOPBACK"]
    beam: ["runner=flink,parallelism=16", "--flink_master=HOST:8081", "Evaluator:runner=local"]

A text is keys of Beam's own names, separated by commas, or one whole argument, which begins with
two dashes; a node's name and a colon before it make it the node's. The texts of a node take the
place of those without a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from preprocessing.support.beam_args import NOT_PACKED, local_args
from preprocessing.support.errors import UsageError
from preprocessing.support.nearest import nearest
from preprocessing.support.section import not_one_of

NODES = ("FaceExtractor", "StatisticsGen", "Transform", "Evaluator")
# Named in full, see `local_args`.
RUNNERS = {
    "local": "",
    "portable": "pipeline.portable_runner.PortableRunner",
    "flink": "apache_beam.runners.portability.flink_runner.FlinkRunner",
    "spark": "apache_beam.runners.portability.spark_runner.SparkRunner",
    "dataflow": "apache_beam.runners.dataflow.dataflow_runner.DataflowRunner",
}
ENVIRONMENTS = ("DOCKER", "EXTERNAL", "LOOPBACK", "PROCESS")
_KEYS = ("runner", "job_endpoint", "environment_type", "environment_config", "parallelism")
# Beam's default ends whatever takes longer than a minute: not only the answers of the job server,
# but also the stream of the job's states.
_JOB_SECONDS = 30 * 24 * 3600
_ANSWER_SECONDS = 10


def beam_args(texts: Iterable[str], node: str, workers: int = 1) -> list[str]:
    """Beam's arguments of a node.

    Args:
      texts: the configuration's `beam`.
      node: name of the node, one of NODES.
      workers: worker processes of the local runner, where there is no other.

    Returns:
      All that the node needs.
    """
    keys, node_arguments = _of_node(texts, node)
    runner = keys.pop("runner", "local")
    if runner == "local":
        return [*local_args(workers), *node_arguments]
    arguments = [f"--runner={RUNNERS[runner]}"]
    if runner != "dataflow":
        # Workers have the project installed; see `local_args`.
        arguments += [NOT_PACKED, f"--job_server_timeout={_JOB_SECONDS}"]
    return [*arguments, *(f"--{key}={value}" for key, value in keys.items()), *node_arguments]


def check_beam(texts: Iterable[str]) -> None:
    """Refuses what `beam_args` does not understand.

    Raises:
      ValueError: says what to write.
    """
    texts = tuple(texts)
    for text in texts:
        _keys(_node_and_setting(text)[1])
    for node in NODES:
        _check_keys(_of_node(texts, node)[0])


def job_endpoints(texts: Iterable[str]) -> list[str]:
    """Addresses of the job servers that nodes send their pipelines to, sorted."""
    texts = tuple(texts)
    endpoints = {_of_node(texts, node)[0].get("job_endpoint", "") for node in NODES}
    return sorted(endpoints - {""})


def check_job_servers(texts: Iterable[str]) -> None:
    """Asks every job server for its options; does nothing where there is none.

    Args:
      texts: the configuration's `beam`.

    Raises:
      UsageError: one does not answer, or is something else.
    """
    endpoints = job_endpoints(texts)
    if not endpoints:
        return
    import grpc
    from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

    for endpoint in endpoints:
        with grpc.insecure_channel(endpoint) as channel:
            jobs = beam_job_api_pb2_grpc.JobServiceStub(channel)
            try:
                jobs.DescribePipelineOptions(
                    beam_job_api_pb2.DescribePipelineOptionsRequest(), timeout=_ANSWER_SECONDS
                )
            except grpc.RpcError as error:
                port = endpoint.rpartition(":")[2]
                raise UsageError(
                    f"beam: no Beam job server answers at job_endpoint={endpoint} "
                    f"({error.code().name.lower()}): start it there, as in "
                    f"`prism --job_port {port}`, or name another one"
                ) from error


def _of_node(texts: Iterable[str], node: str) -> tuple[dict[str, str], list[str]]:
    """Keys and whole arguments of a node: its own, else those of all."""
    pairs = [_node_and_setting(text) for text in texts]
    chosen = [setting for name, setting in pairs if name == node]
    chosen = chosen or [setting for name, setting in pairs if not name]
    keys = {
        key: value
        for setting in chosen
        if not setting.startswith("--")
        for key, value in _keys(setting).items()
    }
    return keys, [setting for setting in chosen if setting.startswith("--")]


def _node_and_setting(text: str) -> tuple[str, str]:
    """The node before the first colon; empty where the colon belongs to a key or an argument."""
    node, colon, setting = text.partition(":")
    if not colon or "=" in node or node.startswith("--"):
        return "", text
    if node not in NODES:
        raise ValueError(f"{text!r}: {node!r} is no node that Beam runs{nearest(node, NODES)}")
    return node, setting


def _keys(text: str) -> dict[str, str]:
    if text.startswith("--"):
        return {}
    pairs = [part.partition("=") for part in text.split(",")]
    for key, equals, value in pairs:
        if key not in _KEYS:
            raise ValueError(
                f"{text!r}: {key!r} is none of {', '.join(_KEYS)}{nearest(key, _KEYS)}; other "
                f"arguments of Beam's are texts of their own, as in --{key or 'project'}=VALUE"
            )
        if not equals or not value:
            raise ValueError(f"{text!r}: write {key}=VALUE")
    return {key: value for key, _, value in pairs}


def _check_keys(keys: Mapping[str, str]) -> None:
    """Refuses values that cannot be, alone or together."""
    runner = keys.get("runner", "local")
    if runner not in RUNNERS:
        raise ValueError(f"runner: {not_one_of(runner, RUNNERS)}")
    if runner == "local" and len(keys) > ("runner" in keys):
        other = next(key for key in keys if key != "runner")
        raise ValueError(f"{other}: the local runner has none; name another, as in runner=portable")
    if runner == "portable" and "job_endpoint" not in keys:
        raise ValueError("runner=portable needs job_endpoint=HOST:PORT, a Beam job server")
    environment = keys.get("environment_type", "")
    if environment and environment not in ENVIRONMENTS:
        raise ValueError(f"environment_type: {not_one_of(environment, ENVIRONMENTS)}")
    addresses = ["job_endpoint"] if "job_endpoint" in keys else []
    if environment == "EXTERNAL":
        addresses.append("environment_config")
    for key in addresses:
        host, _, port = keys.get(key, "").rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
            raise ValueError(f"{key}: {keys.get(key, '')!r} is no address; write HOST:PORT")
    parallelism = keys.get("parallelism", "1")
    if not parallelism.isdigit() or not 0 < int(parallelism) <= 1 << 16:
        raise ValueError(f"parallelism: {parallelism!r} is outside 1 to {1 << 16}")
