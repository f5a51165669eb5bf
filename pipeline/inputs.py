"""Prepares the files that a pipeline starts from: data, manifest, schema."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.trainer.backbones.weights import exported_model
from components.trainer.config import ModelConfig, needs_fakes
from pipeline.config import Config
from preprocessing.datasets.clip import FAKE, Clip, printable
from preprocessing.datasets.demo_config import is_made
from preprocessing.extraction.failures import Failures
from preprocessing.manifest.build import build_manifest
from preprocessing.manifest.checks import check_trainable
from preprocessing.manifest.manifest import Manifest
from preprocessing.manifest.table import dataset_table
from preprocessing.support import progress
from preprocessing.support.errors import UsageError
from preprocessing.support.files import in_bucket, place, replacing, snapshot
from preprocessing.support.fingerprint import settings_digest
from preprocessing.support.storage.bucket_path import is_remote
from serving.model import card
from serving.model.provenance import Provenance, TrainedOn

# Exit status of `score`, `evaluate` and `extract`: finished, but something that was given is not in
# the result. Not 1, so that a caller can tell it from a failure.
INCOMPLETE = 4
_NO_OUTPUT = "no output folder is named: give --output DIR, or set output"
SCHEMA = Path(__file__).parent / "schema" / "schema.pbtxt"


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What `create_pipeline` needs to know besides the configuration.

    Attributes:
      manifest: path of the manifest file.
      manifest_digest: digest of the manifest.
      root: folder that the clips' paths start from.
      schema: path of the schema file; its name holds its digest, because ImportSchemaGen's cache
        key knows the path only.
      failures: file of the clips that failed in the last run of this configuration, see
        `preprocessing.extraction.failures.Failures`.
      attempt: number of the attempt, see there.
      provenance: provenance of a model that is trained on them, as plain values of
        `serving.model.provenance.Provenance`; None leaves it out of the model's card.
    """

    manifest: str
    manifest_digest: str
    root: str
    schema: str
    failures: str
    attempt: int = 0
    provenance: dict[str, Any] | None = None


def face_store_of(config: Config) -> str:
    """Folder of the clips that a run has finished.

    Raises:
      UsageError: no output folder is named.
    """
    if not config.output:
        raise UsageError(_NO_OUTPUT)
    return f"{config.output}/face-store"


def prepare(config: Config, say: Callable[[str], None] = lambda _: None) -> Inputs:
    """Makes or finds the data, divides it, and writes manifest and schema below `output`.

    Args:
      config: the run's configuration; `output` must be set.
      say: function that is told warnings and the dataset's table, one text each.

    Raises:
      UsageError: the output cannot be written, or the data cannot be trained on.
    """
    folder = make_output(str(make_output(config.output) / "inputs"))
    manifest = index(config)
    table = dataset_table(manifest)
    (folder / "dataset.txt").write_text(table + "\n", encoding="utf-8", errors="backslashreplace")
    say(table)
    for warning in check_trainable(manifest, needs_fakes(config.training)):
        say(f"warning: {warning}")
    comes_from = provenance(config, manifest)
    if comes_from.started_from:
        say(
            f"warning: training starts from {comes_from.started_from}: what this run measures on "
            "clips or persons of these is too good"
        )
    path = folder / f"manifest-{manifest.digest[:16]}.csv"
    manifest.write_csv(path)
    failures = _failures_of(config, manifest)
    schema = folder / f"schema-{settings_digest(SCHEMA.read_text(encoding='utf-8'))}" / SCHEMA.name
    with replacing(schema) as file:
        file.write(SCHEMA.read_text(encoding="utf-8"))
    return Inputs(
        manifest=str(path),
        manifest_digest=manifest.digest,
        root=str(manifest.root),
        schema=str(schema),
        failures=failures,
        attempt=_attempt(config, manifest, Failures.read(failures), say),
        provenance=comes_from.to_dict(),
    )


def _failures_of(config: Config, manifest: Manifest) -> str:
    """The file beside the face store that names the failures of this configuration's runs.

    Configurations that share an output may read other clips, or cut them in another way. The name
    is the same wherever this machine has the volume.
    """
    settings = config.extraction.crop_settings(config.data.precropped)
    places = [config.kubeflow.in_pods(str(path or "")) for path in (manifest.root, list_of(config))]
    digest = settings_digest(config.name, *places, config.data.layout, settings.to_dict())
    return f"{face_store_of(config)}-failures-{digest}.json"


def _attempt(
    config: Config, manifest: Manifest, failures: Failures, say: Callable[[str], None]
) -> int:
    """FaceExtractor's `attempt`; tells of clips that are no reason to raise it any more."""
    clips = [clip for clip in manifest.clips if clip.path in failures.repeated]
    if not clips:
        return failures.next_attempt()
    from preprocessing.extraction.finished_clips import finished_clips

    settings = config.extraction.crop_settings(config.data.precropped)
    finished = finished_clips(face_store_of(config), settings, manifest.root, manifest.clips, clips)
    if settled := [clip.path for clip in clips if clip.path not in finished]:
        say(
            f"warning: {len(settled)} of {len(manifest.clips)} clips failed in two runs in a row, "
            f"such as {printable(settled[0])}: {failures.clips[settled[0]]}. What was made "
            "without them is used again; `deepfake extract` with the same --preset, --data, "
            "--output and --set tries them, and the next run takes the faces that it finds"
        )
    return failures.next_attempt([path for path, row in finished.items() if row.crops])


def provenance(config: Config, manifest: Manifest) -> Provenance:
    """The provenance of a model of this run, as far as its data and its weights show it."""
    with_fakes = needs_fakes(config.training)
    clips = [
        clip
        for clip in manifest.clips
        if clip.split == "train" and (with_fakes or clip.label != FAKE)
    ]
    datasets = sorted({clip.dataset for clip in clips})
    made_data = "demo" in datasets or is_made(place(manifest.root))
    start = starting_point(config.model)
    return Provenance(
        name=config.name,
        summary=f"{config.model.backbone}, trained on {', '.join(datasets)}",
        trained_on=tuple(
            _trained_on(name, [c for c in clips if c.dataset == name]) for name in datasets
        ),
        never_shown="real faces and real deepfakes" if made_data else "",
        terms=start.terms if start else "",
        made_data=made_data,
        started_from=_weights_of(start) if start else "",
    )


def starting_point(model: ModelConfig) -> Provenance | None:
    """The provenance of the model whose weights training starts from; None for other weights.

    Raises:
      UsageError: there is no such model, or it has another kind of input.
    """
    folder = exported_model(model.weights)
    if folder is None:
        return None
    model_card = card.read(folder)
    if (kind := model_card.model.get("input", model.input)) != model.input:
        raise UsageError(
            f"model.input: the model that training starts from was trained with {kind}, not "
            f"{model.input}; set model.input={kind}"
        )
    return model_card.provenance


def _weights_of(model: Provenance) -> str:
    before = f" (itself from {model.started_from})" if model.started_from else ""
    learnt_from = ", ".join(dataset.text() for dataset in model.trained_on)
    return f"the weights of {model.name}, which learnt from {learnt_from}{before}"


def _trained_on(dataset: str, clips: list[Clip]) -> TrainedOn:
    fake = sum(clip.label == FAKE for clip in clips)
    persons = {person for clip in clips for person in clip.identities}
    return TrainedOn(
        dataset=dataset,
        clips_real=len(clips) - fake,
        clips_fake=fake,
        persons=len(persons) or None,
        split="train",
    )


def index(config: Config) -> Manifest:
    """Lists, hashes and divides the clips of the configured dataset.

    Raises:
      UsageError: no dataset is named, or the folder is not one.
    """
    data = config.data
    return build_manifest(
        dataset_folder(config),
        layout=data.layout,
        protocol=data.split,
        val_fraction=data.val_fraction,
        test_fraction=data.test_fraction,
        seed=config.seed,
        hash_cache=hash_cache_of(config),
        list_file=list_of(config),
    )


def list_of(config: Config) -> Path | None:
    """The list of clips that the configuration names."""
    return place(config.data.list).resolve() if config.data.list else None


def hash_cache_of(config: Config) -> Path | None:
    """The file that remembers the hashes of clips."""
    return place(config.output) / "inputs" / "hashes.json" if config.output else None


def dataset_folder(config: Config) -> Path:
    """The folder of the configured dataset; that of the demo on this machine is made first.

    One in an object store is listed once; see `preprocessing.support.files.snapshot`.

    Raises:
      UsageError: no dataset is named, or its bucket cannot be read.
    """
    data = config.data
    list_file = list_of(config)
    root = data.dir or (str(list_file.parent) if list_file else "")
    if data.layout == "demo" and not is_remote(root):
        from preprocessing.datasets import demo  # Loads scikit-image.

        if not root and is_remote(config.output):
            raise UsageError("the demo's videos are made on this machine: give --data DIR")
        root = root or str(Path(config.output) / "demo-data")
        demo.make_demo_data(
            Path(root), data.demo, progress=lambda d, t: progress.report("demo data", d, t, "clips")
        )
    if not root:
        raise UsageError("no dataset is named: give --data DIR, or set data.dir or data.list")
    return opened(root)


def opened(root: str) -> Path:
    """A folder to read; one in an object store is listed once.

    Raises:
      UsageError: its bucket cannot be read.
    """
    folder = place(root).resolve()
    remote = in_bucket(folder)
    if remote:
        remote.check()
    return snapshot(folder)


def make_output(output: str, option: str = "--output") -> Path:
    """Creates the output folder and proves that it can be written.

    Args:
      output: the folder.
      option: option of the command line that names it.

    Raises:
      UsageError: it cannot.
    """
    if not output:
        raise UsageError(_NO_OUTPUT)
    folder = place(output).resolve()
    remote = in_bucket(folder)
    if remote:
        remote.check_writable()
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"the output folder {folder} cannot be written ({os.strerror(error.errno or 0)}); "
            f"name another one with {option}"
        ) from error
    return folder
