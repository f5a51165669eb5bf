"""Names, folders, patterns and lists that `deepfake predict` is given."""

import os

import pytest

from pipeline.prediction.inputs import items_of, listed_names
from preprocessing.datasets.clip import printable
from preprocessing.support.errors import UsageError


def no_input() -> bytes:
    raise AssertionError("standard input is read")


def names(items):
    return [item.name for item in items]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Videos, pictures of one clip, documents, hidden files; the working directory."""
    for name in (
        "in/a.mp4", "in/deep/b.avi", "in/deep/c.jpg", "in/.hidden.mp4", "in/notes.txt",
        "in/person_frame_2_face_0.png", "in/person_frame_1_face_0.png", "odd[1].mp4", "odd1.mp4",
        "-", "empty/notes.txt",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_stands_for_what_is_below_it(folder):
    items = items_of(["in"], no_input)
    assert names(items) == [
        "in/a.mp4", "in/deep/b.avi", "in/deep/c.jpg", "in/notes.txt", "in/person",
    ]  # fmt: skip
    by_name = {item.name: item for item in items}
    # Pictures of one clip are one item, in the order of the frames.
    assert [str(path) for path in by_name["in/person"].media] == [
        "in/person_frame_1_face_0.png", "in/person_frame_2_face_0.png",
    ]  # fmt: skip
    document = by_name["in/notes.txt"]
    assert document.media is None
    assert "not a video or picture" in document.reason
    assert not document.counts
    assert str(by_name["in/a.mp4"].media) == "in/a.mp4"


def test_what_the_command_wrote_is_left_out(folder):
    made = folder / "in/out"
    for clip in ("a.mp4", "a.mp4-2"):
        (made / clip / "crops").mkdir(parents=True)
        for name in ("annotated.mp4", "crops/a.jpg", "answer.json"):
            (made / clip / name).write_bytes(b"")
    read = ["in/a.mp4", "in/deep/b.avi", "in/deep/c.jpg", "in/notes.txt", "in/person"]
    assert names(items_of(["in"], no_input, made)) == read
    assert names(items_of(["-"], lambda: b"in", made)) == read
    assert names(items_of(["i*"], no_input, made)) == read
    assert names(items_of(["in/**/*.mp4"], no_input, made)) == ["in/a.mp4"]
    assert names(items_of(["./*/*/*"], no_input, made)) == ["./in/deep/b.avi", "./in/deep/c.jpg"]
    # Unless it is asked for.
    written = ["in/out/a.mp4-2/annotated.mp4"]
    for asked in (written, ["in/out/*-2/*.mp4"], ["in/out/a.mp4-2/*ed.mp4"]):
        assert names(items_of(asked, no_input, made)) == written
    assert written[0] in names(items_of(["in/out"], no_input, made))
    (folder / "link").symlink_to("in")
    assert names(items_of(["link"], no_input, made)) == [
        name.replace("in/", "link/", 1) for name in read
    ]


def test_patterns_are_expanded_in_order(folder):
    assert names(items_of(["in/*.mp4"], no_input)) == ["in/a.mp4"]
    assert names(items_of(["in/**/*.[aj]*"], no_input)) == ["in/deep/b.avi", "in/deep/c.jpg"]
    # Folders that a pattern finds stand for what is in them, once.
    assert names(items_of(["i*/deep"], no_input)) == ["in/deep/b.avi", "in/deep/c.jpg"]
    deep = [name for name in names(items_of(["in/**"], no_input)) if "deep" in name]
    assert deep == ["in/deep/b.avi", "in/deep/c.jpg"]
    # A file of that name comes before the pattern.
    assert names(items_of(["odd[1].mp4"], no_input)) == ["odd[1].mp4"]


def test_what_is_no_file_has_a_reason_beside_the_others(folder):
    given = ["gone.mp4", "in/a.mp4", "none*.mp4", "https://host/a.mp4?x=[1]", "empty/none", "empty"]
    items = items_of(given, no_input)
    assert names(items) == [*given[:-1], "empty/notes.txt"]
    reasons = [item.reason for item in items]
    assert reasons[0] == "there is no file gone.mp4"
    assert reasons[1] == ""
    assert reasons[2] == "there is no file that matches none*.mp4"
    assert reasons[3].startswith("https://host/a.mp4?x=[1] is an address, and predict reads files")
    assert [item.counts for item in items] == [True] * 5 + [False]


def test_what_cannot_be_looked_at_does_not_stop_the_others(folder):
    long, inside = "x" * 300, "in/a.mp4"
    first, second = items_of([long, inside], no_input)
    assert first.reason == f"{printable(long)} cannot be looked at: File name too long"
    assert (second.name, second.reason) == (inside, "")
    whole = names(items_of(["in"], no_input))
    (folder / "in" / "loop").symlink_to("loop")
    items = {item.name: item.reason for item in items_of(["in"], no_input)}
    reason = "cannot be looked at: Too many levels of symbolic links"
    assert items.pop("in/loop") == reason
    assert list(items) == whole


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["gone.mp4", "in/a.mpg"], "there is no file gone.mp4"),
        (["http://host/a.mp4"], "is an address, and predict reads files only: download it"),
        (["rtsp://host/live"], "is an address"),
        (["empty"], "not a video or picture"),
        (["-"], "standard input names no file"),
        (["-", "-"], "can be given once only"),
    ],
)
def test_nothing_but_names_of_no_file_is_wrong_usage(folder, given, words):
    with pytest.raises(UsageError, match=words):
        items_of(given, lambda: b"\n")


def test_lists_are_read_from_standard_input(folder):
    items = items_of(["odd1.mp4", "-", "./-"], lambda: b"in/deep\r\n\nin/a.mp4\nodd[1].mp4")
    assert names(items) == [
        "odd1.mp4", "in/deep/b.avi", "in/deep/c.jpg", "in/a.mp4", "odd[1].mp4", "./-",
    ]  # fmt: skip
    # Names in a list are no patterns.
    (item, _) = items_of(["-"], lambda: b"in/*.mp4\nin/a.mp4")
    assert item.reason == "there is no file in/*.mp4"


def test_names_in_lists_may_hold_anything(folder):
    strange = os.fsdecode(b"new\nline \xff.mp4")
    (folder / strange).write_bytes(b"")
    assert listed_names(os.fsencode(strange) + b"\0in/a.mp4\0") == [strange, "in/a.mp4"]
    items = items_of(["-"], lambda: os.fsencode(strange) + b"\0")
    assert [(item.name, str(item.media)) for item in items] == [(strange, strange)]
    # Those of a folder, too, though no table could hold them.
    assert strange in names(items_of(["."], no_input))
