"""The synthetic dataset: layout, list file, determinism, a safe folder, and what a fake is."""

import hashlib
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from preprocessing.datasets import demo
from preprocessing.datasets.demo_config import DemoConfig
from preprocessing.support.errors import UsageError

# Makes whole datasets.
pytestmark = pytest.mark.integration


def parameters(train: int = 4, val: int = 1, test: int = 2, **other) -> DemoConfig:
    return DemoConfig(train_identities=train, val_identities=val, test_identities=test, **other)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo") / "data"
    demo.make_demo_data(root, parameters())
    return root


def hashes(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def read_clip(path: Path) -> np.ndarray:
    """All frames, uint8 [frames, height, width, 3]."""
    video, frames = cv2.VideoCapture(str(path)), []
    while True:
        ok, frame = video.read()
        if not ok:
            return np.stack(frames)
        frames.append(frame)


def test_layout_is_celeb_df_v2s(made: Path) -> None:
    names = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    assert names == {
        "demo.json",
        "README.txt",
        "List_of_testing_videos.txt",
        *(f"Celeb-real/id{i}_0000.mp4" for i in range(7)),
        *(f"Celeb-synthesis/id{i}_id{i}_0000.mp4" for i in range(7)),
        *(f"YouTube-real/{i:05d}.mp4" for i in range(6)),
    }
    assert "nothing about real deepfakes" in (made / "README.txt").read_text()


def test_list_holds_the_test_persons_and_one_is_real(made: Path) -> None:
    assert (made / "List_of_testing_videos.txt").read_text().splitlines() == [
        "1 Celeb-real/id5_0000.mp4",
        "1 Celeb-real/id6_0000.mp4",
        "1 YouTube-real/00000.mp4",
        "1 YouTube-real/00001.mp4",
        "0 Celeb-synthesis/id5_id5_0000.mp4",
        "0 Celeb-synthesis/id6_id6_0000.mp4",
    ]


def test_every_clip_decodes(made: Path) -> None:
    for path in made.rglob("*.mp4"):
        clip = read_clip(path)
        assert len(clip) >= 12, path
        assert clip.shape[2:0:-1] in demo.FRAME_SIZES, path
        assert np.abs(np.float32(clip[0]) - clip[-1]).mean() > 2, f"{path} does not move"


def test_a_fake_differs_from_its_real_clip_in_the_face(made: Path) -> None:
    for number in range(7):
        real = np.float32(read_clip(made / f"Celeb-real/id{number}_0000.mp4"))
        fake = np.float32(read_clip(made / f"Celeb-synthesis/id{number}_id{number}_0000.mp4"))
        assert real.shape == fake.shape
        change = np.square(real - fake).mean(axis=(0, 3))
        height, width = change.shape
        y, x = np.mgrid[:height, :width]
        # The face's half axes, at most 64 and 80 px, and the way the camera moves.
        face = ((x - width / 2) / 85) ** 2 + ((y - height / 2) / 100) ** 2 < 1
        assert change[face].sum() > 0.8 * change.sum(), number
        # Each frame carries the manipulation, and none is a caricature.
        per_frame = np.abs(real - fake)[:, face].mean(axis=(1, 2))
        assert per_frame.min() > 0.5, (number, per_frame)
        assert per_frame.max() < 20, (number, per_frame)


def test_equal_parameters_give_equal_bytes_and_another_seed_does_not(
    made: Path, tmp_path: Path
) -> None:
    demo.make_demo_data(tmp_path / "again", parameters())
    assert hashes(tmp_path / "again") == hashes(made)
    demo.make_demo_data(tmp_path / "other", parameters(seed=8))
    first, other = hashes(made), hashes(tmp_path / "other")
    assert all(first[name] != other[name] for name in first if name.endswith(".mp4"))


def test_a_person_does_not_depend_on_the_number_of_others(made: Path, tmp_path: Path) -> None:
    demo.make_demo_data(tmp_path / "few", parameters(1, 1, 1))
    few, many = hashes(tmp_path / "few"), hashes(made)
    assert all(few[name] == many[name] for name in few if name.endswith(".mp4"))


def test_another_difficulty_makes_other_fakes_and_is_remembered(made: Path, tmp_path: Path) -> None:
    hard = parameters(1, 1, 1, difficulty="hard")
    root = tmp_path / "data"
    demo.make_demo_data(root, hard)
    first, easy = hashes(root), hashes(made)
    assert len(read_clip(root / "Celeb-synthesis/id1_id1_0000.mp4")) >= 12
    assert all(first[name] != easy[name] for name in first if name.endswith(".mp4"))
    demo.make_demo_data(tmp_path / "again", hard)
    assert hashes(tmp_path / "again") == first
    demo.make_demo_data(root, hard.replace(difficulty="easy"))
    assert hashes(root)["Celeb-real/id0_0000.mp4"] == easy["Celeb-real/id0_0000.mp4"]


def test_an_unknown_difficulty_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"demo.difficulty: 'medium' is not .*; it may be easy, hard"
    ):
        DemoConfig.from_dict({"difficulty": "medium"}, key="demo")


def test_second_call_does_nothing(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_make_clips", lambda *_: pytest.fail("made again"))
    before = made.stat().st_mtime_ns
    demo.make_demo_data(made, parameters())
    assert made.stat().st_mtime_ns == before


def test_other_parameters_or_a_lost_clip_make_it_anew(tmp_path: Path) -> None:
    root = tmp_path / "data"
    steps = []
    demo.make_demo_data(root, parameters(2, 1, 1), progress=lambda *step: steps.append(step))
    assert steps == [(done, 10) for done in range(1, 11)]
    demo.make_demo_data(root, parameters(1, 1, 1))
    assert len(list(root.glob("Celeb-real/*"))) == 3
    (root / "Celeb-real/id0_0000.mp4").unlink()
    demo.make_demo_data(root, parameters(1, 1, 1))
    assert len(list(root.glob("Celeb-real/*"))) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["data"], "work folders are left"


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    demo.make_demo_data(tmp_path, parameters(1, 1, 1))
    assert (tmp_path / "demo.json").is_file()


def test_files_of_others_are_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"holds holiday\.mp4.*name a new or empty folder"):
        demo.make_demo_data(tmp_path, parameters())
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.mp4"]


def test_files_added_to_made_data_are_kept(tmp_path: Path) -> None:
    demo.make_demo_data(tmp_path / "data", parameters(1, 1, 1))
    added = tmp_path / "data/Celeb-real/mine.mp4"
    added.write_bytes(b"mine")
    demo.make_demo_data(tmp_path / "data", parameters(1, 1, 1))
    with pytest.raises(UsageError, match=r"holds Celeb-real/mine\.mp4"):
        demo.make_demo_data(tmp_path / "data", parameters(2, 1, 1))
    assert added.read_bytes() == b"mine"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="/file is a file"):
        demo.make_demo_data(tmp_path / "file", parameters())
    with pytest.raises(UsageError, match=r"cannot be written to .*/file/data \(.*/file.\); name"):
        demo.make_demo_data(tmp_path / "file/data", parameters())


def test_a_failed_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As with a full disk: OpenCV says nothing, and the clip is not there.
    monkeypatch.setattr(demo.cv2, "VideoWriter", lambda *_: _SilentWriter())
    with pytest.raises(UsageError, match=r"could not write .*mp4"):
        demo.make_demo_data(tmp_path / "data", parameters(1, 1, 1))
    assert list(tmp_path.iterdir()) == []


class _SilentWriter:
    def write(self, frame: np.ndarray) -> None:
        pass

    def release(self) -> None:
        pass


@pytest.mark.parametrize(
    ("field", "value"), [("train_identities", 0), ("test_identities", -1), ("seed", -1)]
)
def test_counts_that_are_too_small_are_refused(field: str, value: int) -> None:
    with pytest.raises(
        UsageError, match=f"demo.{field}: {value} is outside {int(field != 'seed')} to"
    ):
        DemoConfig.from_dict({field: value}, key="demo")


def test_tensorflow_is_not_needed() -> None:
    code = "import preprocessing.datasets.demo, sys; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
