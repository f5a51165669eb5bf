import contextlib
import shutil

import cv2
import numpy as np
import pytest
from privileges import bound_by_modes
from trainer_workbench import MODEL, SIZE, encode, face_like

from components.trainer.augmentation_preview import open_crops, write_preview
from components.trainer.config import ModelConfig, TrainingConfig
from pipeline.config import Config
from preprocessing.faces.crop_settings import ExtractionConfig
from preprocessing.support.errors import UsageError

CELL, LINE = 192, 22


def _config(**training) -> Config:
    values = {"batch_size": 8, "batch_norm": "momentum", **training}
    return Config(
        model=ModelConfig.from_dict(MODEL), training=TrainingConfig.from_dict(values), seed=1
    )


def _cells(path, rows: int, columns: int) -> np.ndarray:
    """The cells, int [rows, columns, cell, cell, 3], without the strips that name the rows."""
    sheet = cv2.imread(str(path)).astype(int)
    assert sheet.shape == (2 * LINE + rows * CELL, columns * CELL, 3)
    cells = sheet[2 * LINE :].reshape(rows, CELL, columns, CELL, 3).swapaxes(1, 2)
    return cells[:, :, : CELL - 20, 10:]


def _write_faces(folder, classes) -> None:
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(3):
            pixels = face_like(rng, fake=name == "fake")
            (folder / name / f"{number}.png").write_bytes(encode(pixels, ".png"))


def test_rows_are_crops_and_columns_draws(workbench, tmp_path):
    said = write_preview(
        _config(augmentation="light"), str(workbench.records), str(tmp_path / "a.png"), [], 4, 3
    )
    assert "4 crops under light" in said
    cells = _cells(tmp_path / "a.png", 4, 4)
    for row in cells:
        # Draws differ from the crop and from each other.
        for one in range(4):
            for other in range(one):
                assert np.abs(row[one] - row[other]).mean() > 1.0


def test_without_augmentation_all_columns_are_the_crop(workbench, tmp_path):
    write_preview(_config(), str(workbench.records), str(tmp_path / "a.png"), ["none"], 2, 2)
    cells = _cells(tmp_path / "a.png", 2, 3)
    assert (cells == cells[:, :1]).all()
    assert (cells[0] != cells[1]).any()


def test_each_strength_asked_for_has_its_rows(workbench, tmp_path):
    write_preview(
        _config(), str(workbench.records), str(tmp_path / "a.png"), ["none", "seed_recipe"], 2, 1
    )
    assert cv2.imread(str(tmp_path / "a.png")).shape == (2 * (2 * LINE + 2 * CELL), 2 * CELL, 3)


def test_pictures_are_shown_with_pseudo_fakes_as_trained_on(tmp_path):
    _write_faces(tmp_path / "faces", ["real"])
    # What cannot be decoded or read is no reason to fail.
    folder = tmp_path / "faces" / "real"
    (folder / "broken.png").write_bytes(b"\x89PNG")
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    (folder / "folder.jpg").mkdir()
    # A regular file, for stat; reading its first byte is an error whoever reads.
    (folder / "unreadable.png").symlink_to("/proc/self/mem")
    write_preview(
        _config(pseudo_fakes="self_blended"),
        str(tmp_path / "faces"),
        str(tmp_path / "a.png"),
        ["none"],
        4,
        3,
    )
    cells = _cells(tmp_path / "a.png", 4, 4)
    # A new pseudo-fake in every draw, beside its own real crop.
    assert (cells[1, 1] != cells[1, 2]).any()
    assert (cells[1, 2] != cells[1, 3]).any()
    corner = slice(0, CELL // SIZE * 4)
    assert np.abs(cells[0] - cells[1])[:, corner, corner].max() < 12


def _crops_in(folder) -> int:
    """Count of the crops that this user, bound by file modes, is shown."""

    def count():
        with open_crops(str(folder), ExtractionConfig().crop_settings(True)) as store:
            return len(store.table)

    return bound_by_modes(count)


@contextlib.contextmanager
def _closed(folder):
    folder.chmod(0)
    try:
        yield
    finally:
        folder.chmod(0o755)


def _link_into(closed, folder) -> None:
    """Several links, of which a listing in any order has some before the folders beside them."""
    for number in range(8):
        (folder / f"{number}.png").symlink_to(closed / "x.png")


def test_pictures_that_links_hide_are_left_out(tmp_path):
    faces, closed = tmp_path / "faces", tmp_path / "closed"
    _write_faces(faces, ["real", "fake"])
    closed.mkdir()
    _link_into(closed, faces)
    with _closed(closed):
        assert _crops_in(faces) == 6


def test_records_beside_links_into_a_closed_folder_are_shown(workbench, tmp_path):
    run, closed = tmp_path / "run", tmp_path / "closed"
    shutil.copytree(workbench.records / "Split-train", run / "artifacts" / "1" / "Split-train")
    closed.mkdir()
    for folder in (run, run / "artifacts"):
        _link_into(closed, folder)
    (run / "train").symlink_to(closed / "train")
    with _closed(closed):
        assert _crops_in(run) > 0


def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    faces = tmp_path / "faces"
    _write_faces(faces, ["real"])
    with _closed(faces), pytest.raises(UsageError, match=r"can be read \(Permission denied\)"):
        _crops_in(faces)
    with _closed(tmp_path), pytest.raises(UsageError, match=r"can be read \(Permission denied\)"):
        _crops_in(faces)


def test_real_pictures_alone_can_be_looked_at(tmp_path):
    _write_faces(tmp_path / "faces", ["real"])
    write_preview(_config(), str(tmp_path / "faces"), str(tmp_path / "a.png"), ["light"], 3, 1)
    assert len(_cells(tmp_path / "a.png", 3, 2)) == 3


def test_real_crops_of_both_classes(media, tmp_path):
    """One of the pictures is broken."""
    crops = str(media / "celeb_df_crops")
    write_preview(_config(), crops, str(tmp_path / "a.png"), ["strong"], 8, 1)
    assert len(_cells(tmp_path / "a.png", 8, 2)) == 8


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": "nowhere"}, "nowhere is not a folder"),
        ({"data": "."}, "holds neither pictures"),
        ({"strengths": ["lihgt"]}, "no augmentation 'lihgt'; strengths are none, light"),
        ({"output": "a.jpg"}, "must end in .png"),
        ({"output": "no/such/folder/a.png"}, "cannot be written"),
        ({"rows": 0}, "--rows: 0 is too small"),
        ({"draws": 0}, "--draws: 0 is too small"),
    ],
)
def test_wrong_inputs_get_one_sentence(workbench, tmp_path, monkeypatch, change, words):
    monkeypatch.chdir(tmp_path)
    given = {
        "data": str(workbench.records),
        "output": "a.png",
        "strengths": ["none"],
        "rows": 1,
        "draws": 1,
    }
    with pytest.raises(UsageError, match=words):
        write_preview(_config(), **{**given, **change})
    assert not (tmp_path / "a.png").exists()
