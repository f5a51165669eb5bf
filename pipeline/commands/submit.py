"""`deepfake submit`."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipeline.commands._options import Data, Image, Output, Overrides, Preset, configuration
from preprocessing.support import files
from preprocessing.support.command_line import from_options
from preprocessing.support.errors import UsageError
from preprocessing.support.storage.scratch import scratch_folder

if TYPE_CHECKING:
    from pipeline.config import Config

_KUBEFLOW, _VERTEX = "Kubeflow", "Vertex AI"


@dataclasses.dataclass(frozen=True)
class SubmitArguments:
    """The options of the command; their help says what they are."""

    target: Annotated[
        Literal["kubeflow", "vertex"], typer.Option(help="What the pipeline is to run on.")
    ]
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and compile, ask no host, submit nothing.")
    ] = False
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Run every task, whatever was run before.")
    ] = False
    image: Image = None
    preset: Preset = "folder"
    data: Data = None
    output: Output = None
    overrides: Overrides = None
    host: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The Kubeflow Pipelines API.", rich_help_panel=_KUBEFLOW),
    ] = None
    namespace: Annotated[
        str, typer.Option(metavar="NAME", help="Of the run.", rich_help_panel=_KUBEFLOW)
    ] = "kubeflow"
    experiment: Annotated[
        str,
        typer.Option(metavar="NAME", help="That the run belongs to.", rich_help_panel=_KUBEFLOW),
    ] = "deepfake"
    token_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Holds the bearer token to send.", rich_help_panel=_KUBEFLOW
        ),
    ] = None
    project: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Of Google Cloud.", rich_help_panel=_VERTEX),
    ] = None
    region: Annotated[
        str, typer.Option(metavar="NAME", help="Of the job.", rich_help_panel=_VERTEX)
    ] = "us-central1"
    service_account: Annotated[
        str,
        typer.Option(metavar="NAME", help="That tasks run as.", rich_help_panel=_VERTEX),
    ] = ""
    network: Annotated[
        str,
        typer.Option(metavar="NAME", help="VPC to peer tasks with.", rich_help_panel=_VERTEX),
    ] = ""


@from_options(SubmitArguments)
def submit(arguments: SubmitArguments) -> int:
    """Compile the pipeline and start it on Kubeflow Pipelines 2 or Vertex AI.

    As `deepfake compile`, then submits what it has written to the folder inputs of --output.

    Exit status: 0 submitted (with --dry-run: it could be), 2 wrong usage, data or configuration, or
    refused by the target, 1 failure.
    """
    config = configuration(arguments.preset, arguments.overrides, arguments.data, arguments.output)
    from pipeline.kubeflow.checks import check_image
    from pipeline.kubeflow.names import image_of

    image = image_of(config.kubeflow, arguments.image)
    check_image(image, arguments.target)
    if arguments.target == "kubeflow":
        return _kubeflow(arguments, config, image)
    return _vertex(arguments, config, image)


def _kubeflow(arguments: SubmitArguments, config: Config, image: str) -> int:
    from pipeline import compilation, submission

    if not arguments.host:
        raise UsageError("no host is named: give --host URL, that of the Kubeflow Pipelines API")
    place = submission.KubeflowPlace(
        arguments.host, arguments.namespace, arguments.experiment, _token(arguments.token_file)
    )
    compilation.check(arguments.target, config)
    volume = config.kubeflow.volume if compilation.on_volume(config) else ""
    if not arguments.dry_run:
        submission.check_host(place)
        if volume:
            print(submission.check_volume(volume, place.namespace))
    with _inputs_folder(config) as folder:
        path = folder / "pipeline.yaml"
        job = compilation.compile_file(arguments.target, config, image, path, print)
        mounted = f"the volume {volume} at {config.kubeflow.mount_path}" if volume else "no volume"
        print(
            f"{path}: {len(job['pipelineSpec']['components'])} tasks in {image}, {mounted}, "
            f"artifacts below {config.kubeflow.root or 'the root of the namespace'}"
        )
        if arguments.dry_run:
            print(f"not submitted to {place.host} (--dry-run)")
            return 0
        run = submission.submit_kubeflow(path, config, place, not arguments.no_cache)
        print(f"submitted to {place.host}: run {run}")
    return 0


@contextlib.contextmanager
def _inputs_folder(config: Config) -> Iterator[Path]:
    """The folder inputs of the output; of one in a bucket, a copy of what is left in this."""
    from pipeline.inputs import make_output

    folder = make_output(str(files.place(config.output) / "inputs"))
    if not files.in_bucket(folder):
        yield folder
        return
    with scratch_folder() as scratch:
        yield scratch
        for file in scratch.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())


def _vertex(arguments: SubmitArguments, config: Config, image: str) -> int:
    from pipeline import compilation, submission
    from pipeline.inputs import make_output

    if not arguments.project:
        raise UsageError("no project is named: give --project ID, that of Google Cloud")
    place = submission.VertexPlace(
        arguments.project, arguments.region, arguments.service_account, arguments.network
    )
    compilation.check(arguments.target, config)
    path = make_output(str(Path(config.output) / "inputs")) / "pipeline.json"
    job = compilation.compile_file(arguments.target, config, image, path, print)
    print(
        f"{path}: {len(job['pipelineSpec']['components'])} tasks in {image}, artifacts below "
        f"{job['runtimeConfig']['gcsOutputDirectory']}"
    )
    if arguments.dry_run:
        print(f"not submitted to {place.project} in {place.region} (--dry-run)")
        return 0
    print(f"submitted: {submission.submit_vertex(path, job, place, not arguments.no_cache)}")
    return 0


def _token(file: str | None) -> str:
    if not file:
        return ""
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"--token-file {file} cannot be read: {error.strerror}") from error
