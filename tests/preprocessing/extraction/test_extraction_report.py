import json

import cv2
import numpy as np
import pytest

from preprocessing.extraction import contact_sheet, extraction_report
from preprocessing.extraction.clip_row import ClipRow
from preprocessing.extraction.face_example import make_example
from preprocessing.extraction.face_store import write_clip


def row(path, crops=0, split="train", reason="", dropped=None, **fields):
    dropped = dropped or {}
    faces = crops + sum(dropped.values())
    return ClipRow(
        path=path,
        label=fields.pop("label", 0),
        method=fields.pop("method", "real"),
        frames=8,
        frames_with_face=min(8, faces),
        faces=faces,
        tracks=int(crops > 0),
        crops=crops,
        dropped=dropped,
        boxes="own",
        original=None,
        reason=reason,
        seconds=0.25,
        split=split,
        pair=path,
        **fields,
    )


ROWS = [
    row("a.mp4", 8),
    row("b.mp4", 3, "val", dropped={"track too short": 2, "too little detail": 1}),
    row("c.mp4", reason="no face found"),
    row("d.mp4", reason="no face found", split="val"),
    row("e\n.mp4", reason="the file is empty"),
]


def test_summary_adds_up():
    summary = extraction_report.summarise(ROWS)
    assert summary["clips"] == summary["clips_with_faces"] + summary["clips_reported"] == 5
    assert (summary["crops"], summary["faces"], summary["frames"]) == (11, 14, 40)
    assert summary["crops"] + sum(summary["dropped"].values()) == summary["faces"]
    assert sum(summary["reasons"].values()) == summary["clips_reported"]
    assert summary["reasons"] == {"no face found": 2, "the file is empty": 1}
    for name in ("clips", "clips_with_faces", "clips_reported", "frames", "faces", "crops"):
        assert sum(split[name] for split in summary["splits"].values()) == summary[name]


def test_summary_of_nothing():
    assert extraction_report.summarise([])["clips"] == 0


def test_write_and_read(tmp_path):
    summary = extraction_report.write(tmp_path, ROWS)
    report = extraction_report.read(tmp_path)
    assert report.summary == summary
    assert [clip.path for clip in report.clips] == [row.path for row in ROWS]
    assert not {"stored", "pair", "original"} & report.clips[0].model_fields_set
    assert not (tmp_path / "contact_sheet.png").exists()
    json.loads((tmp_path / "report.json").read_text())


def test_rows_keep_their_form(tmp_path):
    """As earlier versions wrote them, key by key."""
    extraction_report.write(tmp_path, ROWS[1:2])
    assert (
        (tmp_path / "report.json").read_text().partition('"clips": [\n')[2]
        == """\
  {
   "path": "b.mp4",
   "label": 0,
   "method": "real",
   "frames": 8,
   "frames_with_face": 6,
   "faces": 6,
   "tracks": 1,
   "crops": 3,
   "dropped": {
    "track too short": 2,
    "too little detail": 1
   },
   "boxes": "own",
   "reason": "",
   "seconds": 0.25,
   "split": "val"
  }
 ],
 "problems": []
}"""
    )
    assert extraction_report.read(tmp_path).clips[0].to_dict()["dropped"]["too little detail"] == 1


def test_the_table_has_a_line_for_each_clip(tmp_path):
    extraction_report.write(tmp_path, ROWS)
    head, _, table = (tmp_path / "report.txt").read_text().partition("\n\n")
    assert head.startswith("clips 5 = with faces 2 + reported 3; crops 11")
    assert "2 clips: no face found" in head
    assert "2 faces left out: track too short" in head
    title, *lines = table.splitlines()
    assert title.split() == "split frames with face faces tracks crops seconds clip".split()
    assert len(lines) == len(ROWS)
    assert lines[1].split()[:7] == ["val", "8", "6", "6", "1", "3", "0.25"]
    assert lines[4].endswith("'e\\n.mp4'  [the file is empty]")


@pytest.fixture
def stored(tmp_path):
    """Three clips: real (green crops), and forged in two ways (red, blue)."""
    rows = []
    for name, label, method, colour in (
        ("r.mp4", 0, "real", (40, 200, 40)),
        ("x.mp4", 1, "swap é", (40, 40, 200)),
        ("y.mp4", 1, "warp", (200, 40, 40)),
    ):
        examples = []
        for number in range(3):
            # The middle crop has the colour, its neighbours are black; one is not square.
            pixels = np.full((60, 40 + 20 * number, 3), colour if number == 1 else 0, np.uint8)
            jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
            examples.append(make_example(jpeg=jpeg, label=label, clip_id=name).SerializeToString())
        made = row(name, 3, label=label, method=method, stored=str(tmp_path / name))
        write_clip(tmp_path / name, made, examples)
        rows.append(made)
    return rows


def test_contact_sheet_shows_the_middle_crop_of_each_class_and_method(tmp_path, stored):
    extraction_report.write(tmp_path, [*stored[::-1], *ROWS])
    sheet = cv2.imread(str(tmp_path / "contact_sheet.png"))
    assert sheet.shape == (3 * 150, 8 * 128, 3)
    for line, expected in enumerate([(40, 200, 40), (40, 40, 200), (200, 40, 40)]):
        assert sheet[150 * line + 80, 64] == pytest.approx(expected, abs=6)
        assert sheet[150 * line + 80, 200].tolist() == [255, 255, 255]
        assert (sheet[150 * line : 150 * line + 20] < 200).any(), "a title"


def test_contact_sheet_spreads_over_many_clips(tmp_path):
    rows = []
    for number in range(40):
        pixels = np.full((50, 50, 3), 5 * number, np.uint8)
        jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
        example = make_example(jpeg=jpeg, label=0, clip_id=str(number)).SerializeToString()
        rows.append(row(f"{number:02}.mp4", 1, stored=str(tmp_path / f"{number}")))
        write_clip(tmp_path / f"{number}", rows[-1], [example])
    assert contact_sheet.write(tmp_path / "sheet.png", rows)
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    shades = sheet[80, 64::128, 0].astype(int)
    assert shades == pytest.approx([10, 35, 60, 85, 110, 135, 160, 185], abs=4)


def test_contact_sheet_without_crops_is_not_written(tmp_path):
    assert not contact_sheet.write(tmp_path / "sheet.png", ROWS)
    assert not (tmp_path / "sheet.png").exists()
