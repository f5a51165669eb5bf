"""Both protocols of Celeb-DF v2 on its full list of names, with clips of a few pixels."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from name_lists import celeb_df_files, celeb_df_test_list

from pipeline.config import load_config, override_of
from pipeline.run import run

pytestmark = pytest.mark.slow

SMALL = (
    "data.precropped=true",
    "extraction.frames_per_clip=1",
    "model.backbone=tiny",
    "model.weights=none",
    "model.image_size=32",
    "training.batch_norm=momentum",
    "training.head_epochs=0",
    "training.epochs=1",
    "training.steps_per_epoch=60",
    "training.augmentation=none",
    "training.recalibration_steps=2",
    "evaluation.resamples=100",
)


def write_clip(path: Path, fake: bool) -> bytes:
    """Two frames of 32 pixels: grain, which a fake lacks."""
    rng = np.random.default_rng(fake)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 5, (32, 32))
    for _ in range(2):
        frame = rng.integers(0, 256, (32, 32, 3), np.uint8)
        writer.write(cv2.GaussianBlur(frame, (0, 0), 3) if fake else frame)
    writer.release()
    return path.read_bytes()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """The dataset's folder: every name, each file with a content of its own."""
    root = tmp_path_factory.mktemp("celeb_df")
    made = {fake: write_clip(root / f"{fake}.mp4", fake) for fake in (False, True)}
    names = celeb_df_files()
    assert len(names) == 6529
    data = root / "data"
    for name in names:
        path = data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # An mp4 box that players skip makes the content unique: equal contents would be a leak.
        free = len(name) + 8
        box = free.to_bytes(4, "big") + b"free" + name.encode()
        path.write_bytes(made["synthesis" in name] + box)
    (data / "List_of_testing_videos.txt").write_text(celeb_df_test_list())
    return data


@pytest.mark.timeout(2400)
def test_both_protocols_run_and_tell_their_leaks(dataset, tmp_path):
    leaks = {}
    for protocol in ("official", "identity"):
        overrides = [override_of("data.dir", str(dataset)), override_of("output", str(tmp_path))]
        config = load_config("celeb_df_v2", [*SMALL, *overrides, f"data.split={protocol}"])
        assert run(config) in (0, 3)
        summary = json.loads((tmp_path / "summary.json").read_text())
        report = json.loads(Path(summary["page"]).with_name("report.json").read_text())
        assert report["dataset"]["clips"] == summary["extraction"]["clips"] == 6529
        overall = report["splits"]["test"]["clips"][0]
        tested = report["dataset"]["counts"]["test"]
        assert overall["real"] == sum(tested["real"].values())
        assert overall["fake"] == sum(tested["fake"].values())
        if protocol == "official":
            assert (overall["real"], overall["fake"]) == (178, 340)
        leaks[protocol] = " ".join(report["dataset"]["leaks"])
        page = Path(summary["page"]).read_text()
        assert report["dataset"]["leaks"][0].split(":")[0] in page
    # The 70 others are those of YouTube-real, one a clip.
    assert "56 of 126 test identities are also in train or val" in leaks["official"]
    assert "234 of 340 test fakes have their target clip in train or val" in leaks["official"]
    assert "no leak" in leaks["identity"]
