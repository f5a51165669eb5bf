"""Clips that are kept as pictures, through the extraction transform."""

import os

import pytest
from extraction import PRECROPPED, SETTINGS, clip, examples, extract
from made_media import face_frame, portrait, write_image

from preprocessing.datasets.pictures import by_clip

pytestmark = pytest.mark.integration


def pictures(root, name, faces):
    """A clip of pictures of faces in two frames; its path is no file's."""
    frames = [f"{name}_frame_{n}_face_{m}.png" for n in (10, 20) for m in range(faces)]
    for number, frame in enumerate(frames):
        write_image(root / frame, portrait()[8 * number : 8 * number + 48, :48])
    return {"frames": tuple(frames)}


def test_pictures_of_one_clip_are_one_clip(tmp_path):
    which = [
        clip("real", **pictures(tmp_path, "real", 2)),
        clip("fake", 1, source="real", **pictures(tmp_path, "fake", 1)),
    ]
    rows = extract(tmp_path, tmp_path, which, PRECROPPED)
    counts = {path: (row["frames"], row["tracks"], row["crops"]) for path, row in rows.items()}
    assert counts == {"real": (2, 2, 4), "fake": (2, 1, 2)}
    found = [
        (e["clip_id"], e["pair_id"], int(e["frame_index"]), int(e["track_id"]))
        for e in examples(tmp_path, "train")
    ]
    assert found == [
        *((b"real", b"real", frame, face) for frame in (10, 20) for face in (0, 1)),
        (b"fake", b"real", 10, 0),
        (b"fake", b"real", 20, 0),
    ]


def test_a_time_in_a_name_that_is_too_long_for_a_number_is_none(tmp_path):
    name = "anna_20230101123045123456.png"
    write_image(tmp_path / name, portrait()[:48, :48])
    (entry,) = by_clip([name], "")
    row = extract(tmp_path, tmp_path, [clip(name, frames=entry.frames)], PRECROPPED)[name]
    assert (row["crops"], row["reason"]) == (1, "")
    (example,) = examples(tmp_path, "train")
    assert int(example["frame_index"]) == 0


def test_a_broken_picture_is_told_and_an_absent_one_is_tried_again(tmp_path):
    which = [clip("a", **pictures(tmp_path, "a", 2)), clip("b", 1, **pictures(tmp_path, "b", 1))]
    (tmp_path / "a_frame_10_face_1.png").write_bytes(b"no picture")
    (tmp_path / "b_frame_20_face_0.png").rename(tmp_path / "away")
    rows = extract(tmp_path, tmp_path, which, PRECROPPED)
    assert rows["a"]["crops"] == 3
    assert rows["a"]["reason"] == ""
    assert "1 of 4 pictures were left out: frame a_frame_10_face_1.png" in rows["a"]["notes"][0]
    assert rows["b"]["failed"]
    assert "a passing fault" in rows["b"]["reason"]
    (tmp_path / "away").rename(tmp_path / "b_frame_20_face_0.png")
    assert extract(tmp_path, tmp_path, which, PRECROPPED)["b"]["crops"] == 2


def test_pictures_of_the_original_lend_their_boxes(tmp_path):
    frames = {name: [f"{name}_frame_{n}.png" for n in range(3)] for name in ("real", "fake")}
    for names in frames.values():
        for number, name in enumerate(names):
            write_image(tmp_path / name, face_frame([(20 + 8 * number, 40, 0.9)]))
    which = [
        clip("real", frames=tuple(frames["real"])),
        clip("fake", 1, source="real", frames=tuple(frames["fake"])),
    ]
    run = {"frames_of": {"real": frames["real"]}}
    settings = SETTINGS.replace(boxes_of_original=True)
    before = extract(tmp_path, tmp_path, which, settings, **run)
    assert before["fake"]["boxes"] == "original"
    assert before["fake"]["crops"] == 3
    assert extract(tmp_path, tmp_path, which, settings, **run) == before
    os.utime(tmp_path / "real_frame_1.png", (1, 2**31))
    after = extract(tmp_path, tmp_path, which, settings, **run)
    assert after["fake"]["original"] != before["fake"]["original"]
    assert after["real"] == before["real"]
