"""What a pipeline starts from: output folder, manifest, schema, remembered hashes."""

import collections
import dataclasses
import os
from pathlib import Path

import pytest

from pipeline.config import load_config, override_of
from pipeline.inputs import SCHEMA, face_store_of, index, make_output, prepare
from preprocessing.extraction import extraction_report
from preprocessing.extraction.clip_row import ClipRow
from preprocessing.extraction.face_extraction import store_key
from preprocessing.extraction.face_store import stored_clip, write_clip
from preprocessing.extraction.failures import Failures
from preprocessing.manifest.manifest import Manifest
from preprocessing.support.errors import UsageError


@pytest.fixture
def dataset(tmp_path) -> Path:
    """Twelve files that only look like clips: listing and hashing open no video."""
    root = tmp_path / "data"
    for label in ("real", "fake"):
        (root / label).mkdir(parents=True)
        for number in range(6):
            (root / label / f"{number}.mp4").write_bytes(f"{label} {number}".encode())
    return root


@pytest.fixture
def config(tmp_path, dataset):
    overrides = [override_of("data.dir", str(dataset)), override_of("output", str(tmp_path / "o"))]
    return load_config("folder", overrides)


def test_writes_manifest_schema_and_table(config, dataset):
    said = []
    inputs = prepare(config, said.append)
    folder = Path(config.output) / "inputs"
    manifest = Manifest.read_csv(inputs.manifest, inputs.root)
    assert len(manifest.clips) == 12
    assert manifest.digest == inputs.manifest_digest
    assert inputs.root == str(dataset)
    assert Path(inputs.schema).read_bytes() == SCHEMA.read_bytes()
    assert {Path(inputs.manifest).parent, Path(inputs.schema).parents[1]} == {folder}
    table = (folder / "dataset.txt").read_text()
    assert said[0] + "\n" == table
    assert "clips" in table
    assert "12" in table


def test_same_data_gives_the_same_inputs(config):
    assert prepare(config) == prepare(config)


def test_hashes_are_remembered_until_the_file_changes(config, dataset):
    first = prepare(config)
    clip = dataset / "real" / "0.mp4"
    times = clip.stat()
    clip.write_bytes(clip.read_bytes()[::-1])
    os.utime(clip, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert prepare(config) == first, "with size and time unchanged nothing is read again"
    os.utime(clip, ns=(times.st_atime_ns, times.st_mtime_ns + 10**9))
    second = prepare(config)
    assert second.manifest_digest != first.manifest_digest
    assert second.manifest != first.manifest
    assert Path(first.manifest).exists(), "a cached execution may still name it"


def test_warnings_are_said(config, dataset):
    (dataset / "real" / "0.mp4").write_bytes(b"")
    said = []
    prepare(config, said.append)
    assert [text for text in said if text.startswith("warning:") and "real/0.mp4" in text]


def table(problems: str) -> str:
    """The table of a run of nothing, whose extraction report lacks the problems in a file."""
    from pipeline.run_summary import RunSummary

    fields = dataclasses.fields(RunSummary)
    values = {field.name: "" if field.type == "str" else {} for field in fields}
    values["extraction"] = extraction_report.summarise([])
    nothing = {"value": None, "note": ""}
    values["clips"] = collections.defaultdict(lambda: nothing)
    return RunSummary(**{**values, "gate": [], "problems": problems}).table()


@pytest.mark.integration
def test_a_reused_extraction_report_that_names_other_problems_is_told(config, dataset, tmp_path):
    from pipeline.run_summary import problems_now

    (dataset / "real" / "dangling.mp4").symlink_to(tmp_path / "nowhere.mp4")
    inputs = prepare(config)
    extraction_report.write(tmp_path, [], Manifest.read_csv(inputs.manifest, inputs.root).problems)
    problems = extraction_report.read(tmp_path).problems
    assert len(problems) == 1
    assert problems_now(config, inputs, problems) == ""
    (dataset / "real" / "new.mp4").symlink_to(tmp_path / "nowhere.mp4")
    again = prepare(config)
    assert again == inputs, "so FaceExtractor comes from the cache"
    path = problems_now(config, again, problems)
    assert "real/new.mp4" in Path(path).read_text()
    told = f"from an earlier run; the folder's problems have changed since, see {path}"
    assert told in table(path)
    assert "of an earlier run" not in table("")


@pytest.mark.parametrize("output", ["file", "file/below"])
def test_output_in_the_place_of_a_file(config, tmp_path, output):
    (tmp_path / "file").write_text("in the way")
    config = config.replace(output=str(tmp_path / output))
    with pytest.raises(UsageError, match=f"{tmp_path}/{output} cannot be written"):
        prepare(config)


def test_file_in_the_place_of_the_inputs_folder(config):
    Path(config.output).mkdir()
    (Path(config.output) / "inputs").write_text("in the way")
    with pytest.raises(UsageError, match="inputs cannot be written"):
        prepare(config)


def test_output_without_a_name():
    with pytest.raises(UsageError, match="--output DIR"):
        make_output("")


def test_no_dataset_named(config):
    config = config.replace(data=config.data.replace(dir=""))
    with pytest.raises(UsageError, match="--data DIR"):
        prepare(config)


def test_dataset_that_is_not_there(config, dataset):
    missing = config.data.replace(dir=str(dataset / "nowhere"))
    with pytest.raises(UsageError, match="nowhere does not exist"):
        prepare(config.replace(data=missing))


def test_dataset_that_cannot_be_trained_on(config, dataset):
    for path in (dataset / "fake").iterdir():
        path.unlink()
    with pytest.raises(UsageError, match="only real clips"):
        prepare(config)
    assert (Path(config.output) / "inputs" / "dataset.txt").exists(), "the table helps to see why"


def test_index_without_output_writes_nothing(config, dataset, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    assert len(index(config.replace(output="")).clips) == 12
    assert sorted(tmp_path.rglob("*")) == before


def test_provenance_lists_training_datasets(config, dataset):
    inputs = prepare(config)
    clips = Manifest.read_csv(inputs.manifest, inputs.root).clips
    train = [clip.label for clip in clips if clip.split == "train"]
    found = inputs.provenance
    assert (found["name"], found["made_data"]) == ("folder", False)
    assert found["summary"] == "nasnet_large, trained on folder"
    (one,) = found["trained_on"]
    assert one == {
        "dataset": "folder",
        "clips_real": train.count(0),
        "clips_fake": train.count(1),
        "persons": None,
        "split": "train",
    }
    assert 0 < len(train) < 12


def test_provenance_omits_unused_fakes(config, dataset):
    changed = config.training.replace(pseudo_fakes="self_blended", pseudo_fake_share=1.0)
    (learnt_from,) = prepare(config.replace(training=changed)).provenance["trained_on"]
    assert learnt_from["clips_fake"] == 0
    assert learnt_from["clips_real"] > 0
    some = changed.replace(pseudo_fake_share=0.9)
    (learnt_from,) = prepare(config.replace(training=some)).provenance["trained_on"]
    assert learnt_from["clips_fake"] > 0


def test_made_data_is_known_whatever_layout_it_is_read_by(config, dataset):
    (dataset / "demo.json").write_text("{}")
    assert prepare(config).provenance["made_data"] is True


def test_a_model_is_told_what_its_weights_learnt_from_before(config, dataset):
    started = config.model.replace(backbone="efficientnet_lite0", weights="starter")
    said = []
    found = prepare(config.replace(model=started), said.append).provenance
    assert [each["dataset"] for each in found["trained_on"]] == ["folder"]
    learnt_from = "the weights of starter, which learnt from Celeb-DF v2 (119 real and 807 fake"
    assert found["started_from"].startswith(learnt_from)
    assert "research" in found["terms"]
    (warning,) = (text for text in said if "starter" in text)
    assert found["started_from"] in warning
    other = started.replace(input="residual")
    with pytest.raises(UsageError, match=r"was trained with rgb, not residual; set model\.input"):
        prepare(config.replace(model=other))


@pytest.mark.parametrize("crops", [0, 1])
def test_a_clip_that_failed_twice_is_a_reason_to_work_again_once_it_has_faces(config, crops):
    store, failed = face_store_of(config), {"real/0.mp4": "the decoder crashed"}
    said = []
    first = prepare(config)
    assert first.attempt == 0
    Failures().after(0, failed).write(first.failures)
    assert prepare(config, said.append).attempt == 1
    assert "failed in two runs" not in "".join(said), "the next run tries it again"
    Failures.read(first.failures).after(1, failed).write(first.failures)
    assert prepare(config, said.append).attempt == 1
    assert said[-1].startswith("warning: 1 of 12 clips failed in two runs in a row, such as real/0")
    assert "the decoder crashed" in said[-1]
    (clip,) = (clip for clip in index(config).clips if clip.path in failed)
    settings = config.extraction.crop_settings(config.data.precropped)
    row = ClipRow(path=clip.path, label=0, method="real", crops=crops)
    write_clip(stored_clip(store, store_key(settings), clip), row, [b"example"] * crops)
    said.clear()
    assert prepare(config, said.append).attempt == 1 + crops
    assert "failed in two runs" not in "".join(said)


def ended(inputs, *failed):
    """Writes down what FaceExtractor writes at the end of a run; returns its attempt."""
    failures = Failures.read(inputs.failures)
    failures.after(inputs.attempt, dict.fromkeys(failed, "crashed")).write(inputs.failures)
    return inputs.attempt


def test_configurations_that_share_an_output_do_not_forget_each_others_failures(config, dataset):
    """In runs by turns, one of which always fails in a clip, no attempt rises for ever."""
    narrow = config.replace(extraction=config.extraction.replace(margin=1.1))
    lists = [dataset.parent / "even.csv", dataset.parent / "odd.csv"]
    for number, file in enumerate(lists):
        paths = [f"{label}/{n}.mp4" for label in ("real", "fake") for n in range(number, 6, 2)]
        rows = [f"{path},{path.split('/')[0]}\n" for path in paths]
        file.write_text("path,label\n" + "".join(rows))
    listed = [
        config.replace(data=config.data.replace(list=str(file), layout="list", split="clip"))
        for file in lists
    ]
    for failing, other in ((config, narrow), listed):
        attempts = []
        for _ in range(3):
            attempts.append(ended(prepare(failing), "real/0.mp4"))
            ended(prepare(other))
        assert attempts == [0, 1, 1]
        assert prepare(other).attempt == 0


def test_failures_are_known_wherever_the_volume_is_mounted(config, tmp_path):
    names = set()
    for mount in ("here", "there"):
        (tmp_path / "data").rename(tmp_path / mount)
        data = config.data.replace(dir=str(tmp_path / mount))
        kubeflow = config.kubeflow.replace(local_mount=str(tmp_path / mount))
        names.add(prepare(config.replace(data=data, kubeflow=kubeflow)).failures)
        (tmp_path / mount).rename(tmp_path / "data")
    assert len(names) == 1
