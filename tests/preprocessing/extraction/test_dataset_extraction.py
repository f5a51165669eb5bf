import dataclasses

import apache_beam as beam
import pytest
from listings import write_list
from made_media import portrait, write_image

from preprocessing.extraction import extraction_report, face_extraction
from preprocessing.extraction.dataset_extraction import extract_dataset, fill_face_store
from preprocessing.faces.crop_settings import CropSettings
from preprocessing.manifest.build import build_manifest

pytestmark = pytest.mark.integration

PRECROPPED = CropSettings(precropped=True)


@pytest.fixture
def manifest(tmp_path):
    for split in ("train", "val", "test"):
        for number, label in enumerate(("real", "fake")):
            (tmp_path / "data" / split / label).mkdir(parents=True)
            crop = portrait()[number : number + 64, :64]
            write_image(tmp_path / "data" / split / label / f"{split}.png", crop)
    return build_manifest(str(tmp_path / "data"), "folder", "official", 0.2, 0.2, seed=0)


def test_extract_writes_shards_report_and_sheet_and_goes_on(manifest, tmp_path, monkeypatch):
    said = []
    output = tmp_path / "faces"
    summary = extract_dataset(manifest, PRECROPPED, output, say=said.append)
    assert summary["clips"] == summary["crops"] == 6
    assert extraction_report.read(output).summary == summary
    assert said[0].startswith("clips 6 = with faces 6 + reported 0")
    names = {path.name for path in output.iterdir()}
    assert names == {
        ".lock",
        "manifest.csv",
        "report.json",
        "report.txt",
        "contact_sheet.png",
        "store",
        "train",
        "val",
        "test",
    }
    # A shard of another call with other numbers must not stay beside the new ones.
    (output / "train" / "faces-00007-of-00009.gz").touch()

    def no_cropper(*_):
        raise AssertionError("a finished clip was done again")

    monkeypatch.setattr(face_extraction, "FaceCropper", no_cropper)
    assert extract_dataset(manifest, PRECROPPED, output, say=said.append) == summary
    assert [path.name for path in (output / "train").iterdir()] == ["faces-00000-of-00001.gz"]
    # Nor those of a split that is no more, whose clips may be in another one now.
    without_test = tuple(clip for clip in manifest.clips if clip.split != "test")
    fewer = dataclasses.replace(manifest, clips=without_test)
    assert extract_dataset(fewer, PRECROPPED, output, say=said.append)["crops"] == 4
    assert not (output / "test").exists()


def test_a_clip_that_vanished_is_reported(manifest, tmp_path):
    (tmp_path / "data/val/fake/val.png").unlink()
    changed = PRECROPPED.replace(max_crop_size=32)
    summary = extract_dataset(manifest, changed, tmp_path / "faces", say=lambda _: None)
    assert (summary["clips_with_faces"], summary["clips_reported"]) == (5, 1)
    (reason,) = summary["reasons"]
    assert reason.startswith("the file cannot be opened: No such file or directory")


def test_a_list_of_faces_is_extracted_by_clip(tmp_path):
    rows = []
    for split in ("train", "val", "test"):
        for start, (name, label) in enumerate(((f"o{split}", "real"), (f"f{split}", "fake"))):
            for frame in (3, 12):
                path = f"{name}_frame_{frame}_face_0.png"
                crop = portrait()[8 * start : 8 * start + 64, frame : frame + 64]
                (tmp_path / "data").mkdir(exist_ok=True)
                write_image(tmp_path / "data" / path, crop)
                rows.append(f"{path},{label},{split},{name},o{split}")
    write_list(tmp_path / "data", *rows, header="path,label,split,clip,group")
    manifest = build_manifest(str(tmp_path / "data"), "auto", "auto", 0.2, 0.2, seed=0)
    summary = extract_dataset(
        manifest, PRECROPPED.replace(boxes_of_original=True), tmp_path / "faces", say=lambda _: None
    )
    assert (summary["clips"], summary["crops"], summary["clips_reported"]) == (6, 12, 0)
    rows = {row.path: row for row in extraction_report.read(tmp_path / "faces").clips}
    assert set(rows) == {f"{kind}{split}" for kind in "of" for split in ("train", "val", "test")}
    assert all(row.crops == row.frames == 2 for row in rows.values())


def test_no_step_gathers_the_rows_of_all_clips(manifest, tmp_path, monkeypatch):
    """Rows reach this process as lines of files: no worker needs memory for all of them."""
    pipelines = []

    class Kept(beam.Pipeline):
        def __exit__(self, *arguments):
            super().__exit__(*arguments)
            pipelines.append(self.to_runner_api())

    monkeypatch.setattr(beam, "Pipeline", Kept)
    report = tmp_path / "report"
    fill_face_store(manifest.root, manifest.clips, PRECROPPED, report, tmp_path / "store")
    (graph,) = pipelines
    urns = {step.spec.urn for step in graph.components.transforms.values()}
    assert urns & {"beam:transform:pardo:v1"}
    assert not urns & {
        "beam:transform:combine_globally:v1",
        "beam:transform:combine_per_key:v1",
    }
    names = {step.unique_name for step in graph.components.transforms.values()}
    assert not {name for name in names if name.endswith(("ToList", "ToDict"))}


def test_a_failed_run_leaves_no_rows_behind(manifest, tmp_path, monkeypatch):
    def fails(*_):
        raise MemoryError("of a worker")

    monkeypatch.setattr(face_extraction, "extract_clip", fails)
    report = tmp_path / "report"
    with pytest.raises(Exception, match="of a worker"):
        fill_face_store(manifest.root, manifest.clips, PRECROPPED, report, tmp_path / "store")
    assert not list(report.iterdir())


def test_the_same_clips_by_two_processes_at_once(manifest, tmp_path, monkeypatch):
    """The second does all its work where the first has written its rows and not read them."""
    report, store = tmp_path / "report", tmp_path / "store"

    def fill():
        return fill_face_store(manifest.root, manifest.clips, PRECROPPED, report, store)

    class Overtaken(beam.Pipeline):
        def __exit__(self, *arguments):
            super().__exit__(*arguments)
            monkeypatch.undo()
            fill()

    monkeypatch.setattr(beam, "Pipeline", Overtaken)
    assert fill()["crops"] == 6
    assert {path.name for path in report.iterdir()} == {
        "report.json",
        "report.txt",
        "contact_sheet.png",
    }
