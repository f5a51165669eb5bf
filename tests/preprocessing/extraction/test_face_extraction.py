import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from extraction import PRECROPPED, RUNNER, SETTINGS, clip, examples, extract, shards
from made_media import face_frame, numbered_video, portrait, write_image, write_video
from object_stores import s3_of

from preprocessing.extraction import face_extraction, face_store
from preprocessing.extraction.clip_extraction import original_state
from preprocessing.extraction.face_extraction import FaceCropper, extract_clip
from preprocessing.support.files import place

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A head that moves, the same head forged, one that somebody passes by, and none."""
    folder = tmp_path_factory.mktemp("clips")
    frames = [face_frame([(20 + 8 * n, 40, 0.9)]) for n in range(12)]
    write_video(folder / "original.mp4", frames)
    forged = [cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in frames]
    write_video(folder / "forged.mp4", forged)
    write_video(
        folder / "passing.mp4",
        [face_frame([(0, 20, 0.9), *([(160, 20, 0.9)] if n == 4 else [])]) for n in range(6)],
    )
    numbered_video(folder / "faceless.mp4", 6)
    return folder


def add_up(counts):
    return counts["crops"] + sum(counts["dropped"].values())


def test_a_clip_without_a_face_says_so(folder):
    row, examples = extract_clip(str(folder), clip("faceless.mp4"), FaceCropper(SETTINGS))
    assert (row.frames, row.crops, row.reason, examples) == (6, 0, "no face found", [])


def clips():
    return [
        clip("original.mp4", identities=("id1",)),
        clip("forged.mp4", 1, source="original.mp4", identities=("id1", "id2")),
        clip("passing.mp4", split="val"),
        clip("faceless.mp4", split="val"),
        clip("missing.mp4", split="test"),
    ]


@pytest.fixture(scope="module")
def extracted(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("extracted")
    return output, extract(folder, output, clips())


def test_every_clip_has_a_row_and_counts_add_up(extracted):
    output, rows = extracted
    assert set(rows) == {clip.path for clip in clips()}
    for row in rows.values():
        assert add_up(row) == row["faces"]
        assert bool(row["reason"]) == (row["crops"] == 0)
        assert row["seconds"] >= 0
    reason = rows["missing.mp4"]["reason"]
    assert reason.startswith("the file cannot be opened: No such file or directory")
    for split in ("train", "val"):
        crops = sum(row["crops"] for row in rows.values() if row["split"] == split)
        assert len(list(examples(output, split))) == crops > 0
    assert not (output / "test").exists()


def test_examples_say_where_they_come_from(extracted):
    output, _ = extracted
    found = list(examples(output, "train"))
    assert [(e["clip_id"], int(e["label"])) for e in found] == [(b"original.mp4", 0)] * 6 + [
        (b"forged.mp4", 1)
    ] * 6
    assert {e["pair_id"] for e in found} == {b"original.mp4"}
    fake = found[6]
    assert (fake["dataset"], fake["method"], fake["identity"]) == (b"test", b"swap", b"id1|id2")
    assert int(fake["frame_index"]) == 1
    assert int(fake["timestamp_ms"]) == 40
    height = cv2.imdecode(np.frombuffer(fake["image/encoded"], np.uint8), 1).shape[0]
    side = (fake["face/box"][2:] - fake["face/box"][:2]).max()
    assert height == pytest.approx(side * SETTINGS.margin, abs=1)


def test_a_second_run_gives_the_same_bytes(extracted, folder, tmp_path):
    extract(folder, tmp_path, clips()[::-1])
    assert shards(tmp_path) == shards(extracted[0])


def test_a_second_run_is_served_from_the_store(extracted, folder, tmp_path, monkeypatch):
    def no_cropper(*_):
        raise AssertionError("the detector was built")

    monkeypatch.setattr(face_extraction, "FaceCropper", no_cropper)
    output, rows = extracted
    # The clip that is away is tried again by every run.
    present = [clip for clip in clips() if clip.path != "missing.mp4"]
    again = extract(folder, tmp_path, present, store=str(output / "store"))
    assert again == {path: row for path, row in rows.items() if path != "missing.mp4"}
    assert shards(tmp_path) == shards(output)


def test_what_changed_is_done_again_and_nothing_else(extracted, folder, tmp_path, monkeypatch):
    done = []
    real = face_extraction.extract_clip
    monkeypatch.setattr(
        face_extraction, "extract_clip", lambda *args: done.append(args[1].path) or real(*args)
    )
    present = [clip for clip in clips() if clip.path != "missing.mp4"]
    changed = [*present[1:], clip("original.mp4", identities=("id1",), sha256="new content")]
    extract(folder, tmp_path, changed, store=str(extracted[0] / "store"))
    assert done == ["original.mp4"]
    # Another split is no reason: crops do not depend on it.
    moved = [dataclasses.replace(clip, split="test") for clip in present]
    extract(folder, tmp_path, moved, store=str(extracted[0] / "store"))
    assert done == ["original.mp4"]


def test_records_name_the_group_where_no_person_is_known(folder, tmp_path, monkeypatch):
    """The face store, which knows no groups, serves runs with other ones."""

    def identities(group):
        which = [
            clip("original.mp4", group=group),
            clip("forged.mp4", 1, source="original.mp4", group=group),
            clip("passing.mp4", group=group, identities=("id1", "id2")),
        ]
        extract(folder, tmp_path, which, PRECROPPED)
        return {e["clip_id"]: e["identity"] for e in examples(tmp_path, "train")}

    known = {b"passing.mp4": b"id1|id2"}
    # A bar would part two persons.
    expected = {b"original.mp4": b"anna/bob", b"forged.mp4": b"anna/bob"}
    assert identities("anna|bob") == {**known, **expected}
    monkeypatch.setattr(face_extraction, "FaceCropper", None)
    assert identities("carl") == {**known, b"original.mp4": b"carl", b"forged.mp4": b"carl"}
    # The pair tells as much.
    assert identities("original.mp4") == {
        **known,
        b"original.mp4": b"",
        b"forged.mp4": b"",
    }


def test_other_settings_have_another_store():
    keys = {
        face_extraction.store_key(SETTINGS.replace(**change))
        for change in ({}, {"margin": 1.5}, {"align": True}, {"min_sharpness": 2.0})
    }
    assert len(keys) == 4


def test_a_changed_original_changes_its_fakes(folder, tmp_path):
    settings = PRECROPPED.replace(boxes_of_original=True)
    for name in ("original.mp4", "forged.mp4"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    which = clips()[:2]
    before = extract(tmp_path, tmp_path, which, settings)
    assert extract(tmp_path, tmp_path, which, settings) == before
    os.utime(tmp_path / "original.mp4", (1, 1))
    after = extract(tmp_path, tmp_path, which, settings)
    assert after["original.mp4"] == before["original.mp4"]
    assert after["forged.mp4"]["original"] != before["forged.mp4"]["original"]


@pytest.mark.parametrize("where", ["here", "in a bucket"])
def test_an_original_is_searched_once_for_all_its_fakes(folder, tmp_path, searches, where):
    data = tmp_path / "data"
    data.mkdir()
    for name, source in (("original", "original"), ("fake", "forged"), ("again", "forged")):
        shutil.copy(folder / f"{source}.mp4", data / f"{name}.mp4")
    fakes = [clip(name, 1, source="original.mp4") for name in ("fake.mp4", "again.mp4")]
    cropper = FaceCropper(SETTINGS.replace(boxes_of_original=True))
    with contextlib.ExitStack() as stack:
        stack.callback(cropper.close)
        root = str(data)
        if where == "in a bucket":
            stack.enter_context(s3_of(data, tmp_path / "log"))
            root = "s3://bucket/data"
        rows = [extract_clip(root, each, cropper)[0] for each in (clip("original.mp4"), *fakes)]
        assert [row.boxes for row in rows] == ["own", "original", "original"]
        assert len(searches) == 1
        # Another version of it, of a size of its own.
        original = place(root) / "original.mp4"
        original.write_bytes(original.read_bytes() + bytes(8))
        rows = [extract_clip(root, each, cropper)[0] for each in fakes]
        assert [row.boxes for row in rows] == ["original", "original"]
        assert len(searches) == 2


def test_the_state_of_an_original_that_is_a_folder_is_that_of_its_frames(tmp_path):
    settings = PRECROPPED.replace(boxes_of_original=True)
    fake = clip("fake.mp4", 1, source="original")
    (tmp_path / "original").mkdir()
    for number in range(2):
        write_image(tmp_path / "original" / f"{number}.png", portrait())
    before = original_state(str(tmp_path), fake, settings)
    with (tmp_path / "original" / "0.png").open("r+b") as file:  # In place.
        file.write(file.read()[::-1])
    os.utime(tmp_path / "original" / "0.png", (2e9, 2e9))
    after = original_state(str(tmp_path), fake, settings)
    assert before is not None
    assert after is not None
    assert before != after


def test_damaged_files_of_the_store_are_done_again(folder, tmp_path):
    which = [clip("original.mp4"), clip("forged.mp4", 1)]
    before = extract(folder, tmp_path, which, PRECROPPED)
    whole = shards(tmp_path)
    first, second = (Path(row["stored"]) for row in before.values())
    first.write_bytes(first.read_bytes()[:20])
    second.write_bytes(b"")
    extract(folder, tmp_path, which, PRECROPPED)
    assert shards(tmp_path) == whole
    # Behind the report row: a flipped bit in a crop, and a crop less.
    flipped = bytearray(first.read_bytes())
    flipped[-20] ^= 1
    first.write_bytes(flipped)
    *_, last = face_store.read_examples(second)
    os.truncate(second, second.stat().st_size - len(last) - 16)
    extract(folder, tmp_path, which, PRECROPPED)
    assert shards(tmp_path) == whole


def test_a_passing_fault_is_not_remembered(folder, tmp_path):
    """Run 1: the file is away; run 2: it is there, and found."""
    data = tmp_path / "data"
    data.mkdir()
    original = (folder / "original.mp4").read_bytes()
    (data / "there.mp4").write_bytes(original)
    which = [clip("there.mp4"), clip("away.mp4", 1)]
    first = extract(data, tmp_path, which, PRECROPPED)
    assert first["away.mp4"]["failed"]
    assert not first["there.mp4"]["failed"]
    assert "a passing fault" in first["away.mp4"]["reason"]
    assert not Path(first["away.mp4"]["stored"]).exists()
    (data / "away.mp4").write_bytes(original)
    second = extract(data, tmp_path, which, PRECROPPED)
    assert second["away.mp4"]["crops"] == 6
    assert second["away.mp4"]["reason"] == ""


def test_what_is_wrong_with_the_bytes_is_remembered(folder, tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    (data / "broken.mp4").write_bytes(b"no video")
    row = extract(data, tmp_path, [clip("broken.mp4")], PRECROPPED)["broken.mp4"]
    assert row["reason"]
    assert not row["failed"]
    monkeypatch.delattr(face_extraction, "FaceCropper")
    assert extract(data, tmp_path, [clip("broken.mp4")], PRECROPPED)["broken.mp4"] == row


def test_a_decoder_that_dies_while_idle_costs_no_clip(folder):
    cropper = FaceCropper(PRECROPPED)
    extract_clip(str(folder), clip("original.mp4"), cropper)
    for child in cropper._decoder._idle:
        child._process.kill()
        child._process.wait()
    row, examples = extract_clip(str(folder), clip("forged.mp4", 1), cropper)
    cropper.close()
    assert (row.reason, len(examples)) == ("", 6)


def test_half_written_files_are_never_read(folder, tmp_path):
    which = [clip("original.mp4")]
    before = extract(folder, tmp_path, which, PRECROPPED)
    stored = Path(before["original.mp4"]["stored"])
    half = stored.with_suffix(".4711.tmp")
    half.write_bytes(stored.read_bytes()[:1000])
    stored.unlink()
    assert face_store.read_row(stored) is None
    extract(folder, tmp_path, which, PRECROPPED)
    assert face_store.read_row(stored).crops == before["original.mp4"]["crops"]
    # Readers of a split take every file in its folder.
    assert [path.name for path in (tmp_path / "train").iterdir()] == ["faces-00000-of-00001.gz"]


def test_pairs_share_a_shard(tmp_path):
    pixels = portrait()[:32, :32]
    which = []
    for number in range(60):
        real, fake = f"real{number}.png", f"fake{number}.png"
        for name in (real, fake):
            write_image(tmp_path / name, pixels)
        which += [clip(real), clip(fake, 1, source=real)]
    extract(tmp_path, tmp_path, which, PRECROPPED)
    names = sorted(path.name for path in (tmp_path / "train").iterdir())
    assert names == [f"faces-{n:05d}-of-00004.gz" for n in range(4)]
    order = [(e["pair_id"], int(e["label"])) for e in examples(tmp_path, "train")]
    assert order[0::2] == [(pair, 0) for pair, _ in order[1::2]]
    assert {label for _, label in order[1::2]} == {1}
    assert len(order) == 120


def test_killed_and_started_again_it_goes_on(folder, tmp_path):
    """SIGKILL in the middle: finished clips are not done again, and nothing is lost."""
    names = [f"clip{number}.mp4" for number in range(8)]
    for name in names:
        (tmp_path / name).write_bytes((folder / "original.mp4").read_bytes())
    log = tmp_path / "log"
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import itertools, os, time, apache_beam as beam
from preprocessing.extraction import face_extraction
from preprocessing.faces.crop_settings import CropSettings
from preprocessing.datasets.clip import Clip
real, calls = face_extraction.extract_clip, itertools.count()
def held(root, clip, *more):
    with open({str(log)!r}, "a") as file:
        file.write(clip.path + "\\n")
    if next(calls) == int(os.environ.get("FINISHED_BEFORE", -1)):
        time.sleep(1000)
    return real(root, clip, *more)
face_extraction.extract_clip = held
with beam.Pipeline({RUNNER!r}) as pipeline:
    pipeline | beam.Create(
        [Clip(name, 0, dataset="test", method="real", split="train") for name in {names!r}]
    ) | face_extraction.ExtractFaces(
        root={str(tmp_path)!r}, store={str(tmp_path / "store")!r},
        outputs={{"train": {str(tmp_path / "train")!r}}}, clips_per_split={{"train": 8}},
        settings=CropSettings(**{PRECROPPED.to_dict()!r}),
    )
"""
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(script)]
    # The fifth clip is in hand until the end.
    variables = {**environment, "FINISHED_BEFORE": "4"}
    first = subprocess.Popen(command, env=variables, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    try:
        while len(stored := list(tmp_path.glob("store/*/*.tfrecord"))) < 3:
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        first.kill()
        first.wait()
    begun = log.read_text().split()
    stored = list(tmp_path.glob("store/*/*.tfrecord"))
    assert 3 <= len(stored) < 8
    assert not list(tmp_path.glob("train/*"))
    log.unlink()
    subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=True, timeout=300)
    again = log.read_text().split()
    assert len(again) == 8 - len(stored)
    # Of those begun before, at most the one in hand is done twice.
    assert len(set(begun) & set(again)) <= 1
    assert set(begun) | set(again) == set(names)
    assert len(list(examples(tmp_path, "train"))) == 8 * 6


def test_real_clips(media, tmp_path):
    """Compressed, rotated, large and small: every sampled frame of these shows a face."""
    root = media / "faceforensics_mini"
    paths = [
        "original_sequences/youtube/c40/videos/469.mp4",
        "original_sequences/actors/c40/videos/01__kitchen_pan.mp4",
        "manipulated_sequences/NeuralTextures/c40/videos/481_469.mp4",
    ]
    settings = SETTINGS.replace(frames_per_clip=4)
    rows = extract(root, tmp_path, [clip(path) for path in paths], settings)
    for row in rows.values():
        assert row["frames"] == row["frames_with_face"] == 4
        assert row["crops"] >= 4
        assert add_up(row) == row["faces"]
