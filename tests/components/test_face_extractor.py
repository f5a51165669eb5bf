"""FaceExtractor, executed on tiny real data."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from cases import node_case
from made_media import face_frame, numbered_video, portrait, write_image, write_video

from preprocessing.datasets.clip import Clip
from preprocessing.extraction import extraction_report, face_example
from preprocessing.extraction.face_extraction import store_key
from preprocessing.extraction.failures import Failures
from preprocessing.faces.crop import square_crop
from preprocessing.faces.crop_geometry import square_of
from preprocessing.faces.crop_meter import CropMeter
from preprocessing.faces.crop_settings import LANDMARKS, CropSettings
from preprocessing.manifest.manifest import Manifest
from preprocessing.support.errors import UsageError

pytestmark = pytest.mark.integration

SETTINGS = CropSettings(frames_per_clip=3)
PRECROPPED = SETTINGS.replace(precropped=True)
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """A real and a forged clip in each split, one clip without a face, one broken file."""
    root = tmp_path_factory.mktemp("data")
    clips = []

    def add(path, label, split, source=""):
        method = "swap" if label else "real"
        clips.append(Clip(path, label, "folder", method, source=source, split=split, sha256=path))

    for number, split in enumerate(SPLITS):
        for label, name in enumerate((f"{split}/real.mp4", f"{split}/fake.mp4")):
            (root / split).mkdir(exist_ok=True)
            frames = [face_frame([(20 + 4 * n + 30 * number, 40, 0.9)]) for n in range(4)]
            write_video(root / name, frames)
            add(name, label, split, source=f"{split}/real.mp4" if label else "")
    numbered_video(root / "train/faceless.mp4", 3)
    add("train/faceless.mp4", 0, "train")
    (root / "val/broken.mp4").write_bytes(b"\0" * 100)
    add("val/broken.mp4", 1, "val")
    return Manifest(str(root), "folder", tuple(sorted(clips, key=lambda clip: clip.path)))


def execute(manifest, folder, store=None, settings=SETTINGS):
    """Runs the executor as TFX does; returns its two output artifacts."""
    from tfx.types import standard_artifacts
    from tfx.types.experimental import simple_artifacts

    from components.face_extractor.executor import Executor

    folder.mkdir(exist_ok=True)
    manifest.write_csv(folder / "manifest.csv")
    examples = node_case.make_artifact(standard_artifacts.Examples, folder / "examples", SPLITS)
    report = node_case.make_artifact(simple_artifacts.File, folder / "report")
    node_case.execute(
        Executor,
        folder,
        {},
        {"examples": [examples], "report": [report]},
        {
            "manifest": str(folder / "manifest.csv"),
            "manifest_digest": manifest.digest,
            "root": manifest.root,
            "store": str(store or folder / "store"),
            "settings": json.dumps(settings.to_dict()),
            "code": "1",
            "failures": str(Path(store or folder / "store").with_name("failures.json")),
            "attempt": 0,
            "workers": 1,
        },
    )
    return examples, report


@pytest.fixture(scope="module")
def done(manifest, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, *execute(manifest, folder)


def records(folder, split):
    import tensorflow as tf

    for path in sorted((folder / "examples" / f"Split-{split}").iterdir()):
        for record in tf.data.TFRecordDataset(str(path), "GZIP"):
            yield tf.io.parse_single_example(record, face_example.feature_spec())


def test_each_split_holds_the_crops_of_its_own_clips(done):
    folder = done[0]
    for split in SPLITS:
        found = [(e["clip_id"].numpy().decode(), int(e["label"])) for e in records(folder, split)]
        assert found == [(f"{split}/real.mp4", 0)] * 3 + [(f"{split}/fake.mp4", 1)] * 3


def test_the_report_accounts_for_every_clip(done, manifest):
    folder, _, artifact = done
    report = extraction_report.read(folder / "report")
    assert [row.path for row in report.clips] == [clip.path for clip in manifest.clips]
    reasons = {row.path: row.reason for row in report.clips if row.reason}
    assert set(reasons) == {"train/faceless.mp4", "val/broken.mp4"}
    assert reasons["train/faceless.mp4"] == "no face found"
    summary = report.summary
    assert (summary["clips"], summary["clips_reported"], summary["crops"]) == (8, 2, 18)
    for name in ("clips", "clips_reported", "crops"):
        assert artifact.get_int_custom_property(name) == summary[name]
    names = {path.name for path in (folder / "report").iterdir()}
    assert names == {"report.json", "report.txt", "contact_sheet.png"}


def test_finished_clips_come_from_the_store(done, manifest, tmp_path, monkeypatch):
    from preprocessing.extraction import face_extraction

    def no_cropper(*_):
        raise AssertionError("the detector was built")

    monkeypatch.setattr(face_extraction, "FaceCropper", no_cropper)
    execute(manifest, tmp_path / "again", store=done[0] / "store")
    for split in SPLITS:
        first, second = (
            [path.read_bytes() for path in sorted((f / f"examples/Split-{split}").iterdir())]
            for f in (done[0], tmp_path / "again")
        )
        assert first == second


def test_progress_counts_the_clips_of_the_store(done, manifest):
    from components.face_extractor import executor
    from preprocessing.support import progress

    events = []
    progress.set_sink(events.append)
    try:
        with executor._Progress(str(done[0] / "store"), SETTINGS, manifest):
            pass
    finally:
        progress.set_sink(None)
    assert (events[-1].done, events[-1].total) == (8, 8)
    assert (done[0] / "store" / store_key(SETTINGS)).is_dir()


def test_a_split_without_any_face_is_refused(manifest, tmp_path, done):
    kept = [clip for clip in manifest.clips if clip.split != "train" or "faceless" in clip.path]
    poor = Manifest(manifest.root, "folder", tuple(kept))
    words = "no face was found in any clip of the split 'train'.*set data.precropped=true"
    with pytest.raises(UsageError, match=words):
        execute(poor, tmp_path / "poor", store=done[0] / "store")
    assert (tmp_path / "poor/report/report.txt").exists()


@pytest.fixture
def crops(tmp_path):
    """Pictures that are crops already: 120 for train, and two for val and test each."""
    root = tmp_path / "crops"
    root.mkdir()
    clips = []
    for number in range(124):
        split = ("val", "val", "test", "test")[number] if number < 4 else "train"
        path = f"{number}.png"
        write_image(root / path, portrait()[number : number + 16, :16])
        method = "swap" if number % 2 else "real"
        clips.append(Clip(path, number % 2, "folder", method, split=split, sha256=path))
    return Manifest(str(root), "folder", tuple(sorted(clips, key=lambda clip: clip.path)))


def test_many_failures_stop_the_run_and_cost_no_finished_clip(crops, tmp_path):
    root = Path(crops.root)
    for number in (10, 11):
        (root / f"{number}.png").rename(root / f"{number}.away")
    store = tmp_path / "store"
    with pytest.raises(UsageError, match=r"2 of 124 clips failed, such as 10.png: .*No such file"):
        execute(crops, tmp_path / "first", store, PRECROPPED)
    assert (tmp_path / "first/report/report.txt").exists()
    assert set(Failures.read(tmp_path / "failures.json").clips) == {"10.png", "11.png"}
    assert len(list(store.glob("*/*.tfrecord"))) == 122, "nothing is kept of what failed"
    for number in (10, 11):
        (root / f"{number}.away").rename(root / f"{number}.png")
    execute(crops, tmp_path / "second", store, PRECROPPED)
    summary = extraction_report.read(tmp_path / "second/report").summary
    assert (summary["clips_with_faces"], summary["clips_failed"]) == (124, 0)
    assert Failures.read(tmp_path / "failures.json").clips == {}


@pytest.fixture
def run(crops, tmp_path):
    """Runs FaceExtractor alone; gives whether TFX reused it, and its failed and finished clips."""
    from tfx.orchestration import metadata, pipeline
    from tfx.orchestration.local import local_dag_runner

    from components.face_extractor.component import FaceExtractor
    from pipeline import metadata_store
    from pipeline.config import load_config

    failures = str(tmp_path / "failures.json")
    crops.write_csv(tmp_path / "manifest.csv")
    metadata_file = tmp_path / "metadata.sqlite"

    def run():
        extractor = FaceExtractor(
            manifest=str(tmp_path / "manifest.csv"),
            manifest_digest=crops.digest,
            root=str(crops.root),
            store=str(tmp_path / "store"),
            settings=PRECROPPED.to_dict(),
            code="1",
            failures=failures,
            attempt=Failures.read(failures).next_attempt(),
        )
        dag = pipeline.Pipeline(
            "extraction",
            str(tmp_path / "artifacts"),
            components=[extractor],
            enable_cache=True,
            metadata_connection_config=metadata.sqlite_metadata_connection_config(
                str(metadata_file)
            ),
        )
        local_dag_runner.LocalDagRunner().run(dag)
        known = metadata_store.open_store(load_config("demo", [f"metadata={metadata_file}"]))
        execution = max(known.get_executions(), key=lambda execution: execution.id)
        reports = (tmp_path / "artifacts/FaceExtractor/report").iterdir()
        latest = max(reports, key=lambda folder: int(folder.name))
        summary = extraction_report.read(latest).summary
        cached = execution.last_known_state == execution.CACHED
        return cached, summary["clips_failed"], summary["clips_with_faces"]

    return run


def test_a_run_after_a_failure_is_not_served_from_tfx_cache(crops, run, tmp_path):
    """TFX would reuse the node's output, and the clip would be lost for good."""
    root = Path(crops.root)
    (root / "10.png").rename(root / "10.away")
    assert run() == (False, 1, 123)
    (root / "10.away").rename(root / "10.png")
    assert run() == (False, 0, 124)
    assert run() == (True, 0, 124)
    # The store may be deleted at any time: the first run, which lacks a clip, is not reused then.
    shutil.rmtree(tmp_path / "store")
    assert run() == (True, 0, 124)


def test_a_clip_that_always_fails_costs_one_more_run(crops, run):
    """All that follows the node, training too, would be done again in every run."""
    (Path(crops.root) / "10.png").unlink()
    assert run() == (False, 1, 123)
    assert run() == (False, 1, 123)
    assert run() == (True, 1, 123)
    assert run() == (True, 1, 123)


def test_the_component_names_what_it_makes():
    from components.face_extractor.component import FaceExtractor

    component = FaceExtractor(
        manifest="m.csv",
        manifest_digest="0",
        root="/data",
        store="/store",
        settings=SETTINGS.to_dict(),
        code="1",
        failures="/failures.json",
        workers=2,
    )
    assert set(component.outputs) == {"examples", "report"}
    settings = json.loads(component.exec_properties["settings"])
    assert CropSettings.from_dict(settings) == SETTINGS


@pytest.mark.parametrize(("tight", "named"), [(SPLITS, "train"), (("val",), "val")])
def test_crops_of_another_geometry_are_refused_with_the_command_that_measures(
    tmp_path, tight, named
):
    (face,) = CropMeter().faces([portrait()[:360, 60:420]])
    points = face.landmarks + np.array([60, 0])
    clips = []
    for split in SPLITS:
        square = square_of(points, *((0.45, 0.35) if split in tight else (0.25, 0.4)))
        for label in (0, 1):
            name = f"{split}{label}.png"
            write_image(tmp_path / name, square_crop(portrait(), square, 1.0, 200))
            clips.append(Clip(name, label, "folder", "real", split=split, sha256=name))
    manifest = Manifest(str(tmp_path), "folder", tuple(clips))
    settings = PRECROPPED.replace(crop_by=LANDMARKS, eye_distance=0.25, eye_height=0.4)
    words = rf"2 of 2 crops of the split '{named}' are cut tighter than .*eye_distance=0\.25"
    with pytest.raises(UsageError, match=words):
        execute(manifest, tmp_path / "run", settings=settings)


def test_a_split_without_a_crop_is_not_told_to_take_its_files_for_crops(crops, tmp_path):
    for name in ("0.png", "1.png"):
        (Path(crops.root) / name).write_bytes(b"no picture at all")
    with pytest.raises(UsageError, match="no crop was kept of any clip of the split 'val'") as said:
        execute(crops, tmp_path / "run", settings=PRECROPPED)
    assert "data.precropped" not in str(said.value)
