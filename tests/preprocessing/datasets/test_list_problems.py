"""A list of one's own: what is told of rows, files and columns that are not used."""

import pandas as pd
import pytest
from listings import FILES, ROWS, clips_by_path, make, reasons, write_list
from object_stores import s3_of

from preprocessing.datasets.listing import list_clips
from preprocessing.manifest.build import build_manifest
from preprocessing.manifest.checks import left_out
from preprocessing.manifest.table import dataset_table
from preprocessing.support.files import place


def test_an_absent_and_an_unlisted_file_are_told_with_row_and_path(tmp_path):
    make(tmp_path, "a/r1.jpg", "b/f1.jpg", "b/new.jpg", "b/new.txt", "README.md")
    (tmp_path / "empty").mkdir()
    write_list(tmp_path, *ROWS, "empty,real")
    listing = list_clips(tmp_path)
    assert {(p.path, p.reason, p.place) for p in listing.problems} == {
        ("a/r2.jpg", "row of clips.csv without its file", "row 3"),
        ("b/f2.jpg", "row of clips.csv without its file", "row 5"),
        ("b/new.jpg", "file that clips.csv does not name: its label is unknown", ""),
        ("b/new.txt", "not a video or picture by its ending, nor by its content", ""),
        ("README.md", "not a video or picture by its ending, nor by its content", ""),
        ("empty", "row of clips.csv for a folder without pictures", "row 6"),
    }
    missing = {problem.path for problem in left_out(tmp_path, listing.clips, listing.problems)}
    assert missing == {"b/new.jpg", "empty"}
    table = dataset_table(build_manifest(tmp_path, "auto", "clip", 0.1, 0.1, 1))
    assert "2 row of clips.csv without its file: a/r2.jpg (row 3), b/f2.jpg (row 5)" in table


def test_rows_that_cannot_be_looked_at_are_told(tmp_path):
    make(tmp_path, "a.jpg", "x/1.png", "x/2.png")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "x" / "loop").symlink_to("loop")
    long = "x" * 300 + ".jpg"
    write_list(tmp_path, "a.jpg,real", "x,fake", "loop.jpg,real", f"{long},real")
    listing = list_clips(tmp_path)
    assert {(p.path, p.reason, p.place) for p in listing.problems if p.place} == {
        ("loop.jpg", "row of clips.csv for no file", "row 4"),
        (
            long,
            "row of clips.csv whose file cannot be looked at: File name too long",
            "row 5",
        ),
    }
    assert clips_by_path(listing)["x"].frames == ("x/1.png", "x/2.png")
    assert left_out(tmp_path, listing.clips, listing.problems)


@pytest.mark.integration
def test_an_absent_file_of_a_list_in_a_bucket_is_told(tmp_path):
    write_list(make(tmp_path / "data", *FILES[:-1]), *ROWS)
    with s3_of(tmp_path / "data", tmp_path / "log"):
        listing = list_clips(place("s3://bucket/data"))
    assert [clip.path for clip in listing.clips] == list(FILES[:-1])
    assert reasons(listing) == {FILES[-1]: "row of clips.csv without its file"}


def test_the_picture_that_is_left_of_a_clip_keeps_its_number(tmp_path):
    make(tmp_path, "c_3.jpg")
    write_list(tmp_path, "x.jpg,fake,c", "c_3.jpg,fake,c", header="path,label,clip")
    (clip,) = list_clips(tmp_path).clips
    assert (clip.path, clip.frames) == ("c_3.jpg", ("c_3.jpg",))


def test_a_clip_goes_on_without_an_absent_picture(tmp_path):
    make(tmp_path, "c_1.jpg", "c_3.jpg")
    write_list(tmp_path, *(f"c_{n}.jpg,fake,c" for n in (1, 2, 3)), header="path,label,clip")
    listing = list_clips(tmp_path)
    assert listing.clips[0].frames == ("c_1.jpg", "c_3.jpg")
    assert listing.problems[0].named == "c_2.jpg (row 3)"


def test_a_row_that_is_there_twice_counts_once(tmp_path):
    make(tmp_path, *FILES)
    write_list(tmp_path, *ROWS, ROWS[0])
    listing = list_clips(tmp_path)
    assert len(listing.clips) == 4
    assert reasons(listing) == {"a/r1.jpg": "row of clips.csv that is there twice, counted once"}
    assert listing.problems[0].place == "rows 2 and 6"


def test_a_column_of_its_own_is_told(tmp_path):
    make(tmp_path, *FILES)
    write_list(tmp_path, *(f"{row},77" for row in ROWS), header="path,label,quality")
    listing = list_clips(tmp_path)
    assert len(listing.clips) == 4
    assert reasons(listing)["clips.csv"].startswith("column 'quality' is not read; columns")


def test_the_index_that_pandas_keeps_of_a_filter_is_no_loss(tmp_path):
    make(tmp_path, *FILES)
    rows = pd.DataFrame([row.split(",") for row in (*ROWS, "c.jpg,real")])
    rows.columns = ["path", "label"]
    rows[rows.path != "c.jpg"][::2].to_parquet(tmp_path / "clips.parquet")
    for path in FILES[1::2]:
        (tmp_path / path).unlink()
    listing = list_clips(tmp_path)
    assert "column '__index_level_0__' is not read" in reasons(listing)["clips.parquet"]
    assert left_out(tmp_path, listing.clips, listing.problems) == ()
