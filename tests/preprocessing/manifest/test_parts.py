"""Parts of a dataset: every clip in one of them, pairs together, sizes alike."""

import numpy as np
import pytest

from preprocessing.datasets.clip import Clip
from preprocessing.manifest.parts import Part, division
from preprocessing.support.errors import UsageError


@pytest.fixture
def folder(tmp_path):
    """20 originals of several sizes, and three fakes of each."""
    clips = []
    for number in range(20):
        original = f"real/{number}.mp4"
        clips.append(Clip(original, 0, "folder", "real"))
        for fake in range(3):
            clips.append(Clip(f"fake/{number}_{fake}.mp4", 1, "folder", "swap", source=original))
    for clip in clips:
        path = tmp_path / clip.path
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(1000 + 97 * len(clip.path) * (hash(clip.path) % 7)))
    return tmp_path, clips


def test_every_clip_is_in_one_part_with_its_original(folder):
    root, clips = folder
    parts = [Part(number, 6).of(root, clips) for number in range(1, 7)]
    assert sorted(clip.path for part in parts for clip in part) == sorted(c.path for c in clips)
    for part in parts:
        paths = {clip.path for clip in part}
        assert all(not clip.source or clip.source in paths for clip in part)
        assert part == [clip for clip in clips if clip.path in paths], "the order stays"


def test_one_part_is_everything(folder):
    root, clips = folder
    assert Part(1, 1).of(root, clips) == clips


def test_more_parts_than_pairs_leave_some_empty(folder):
    root, clips = folder
    parts = [Part(number, 30).of(root, clips) for number in range(1, 31)]
    assert sum(map(len, parts)) == len(clips)
    assert sum(not part for part in parts) == 10


@pytest.mark.parametrize("count", [8, 64, 256])
def test_the_largest_part_is_at_most_a_fifth_above_the_mean(count):
    """As many pairs as DFDC has originals, with as many fakes; clips differ in size as ours do."""
    rng = np.random.default_rng(count)
    originals = 19_154
    fakes = rng.poisson(100_000 / originals, originals)
    sizes = {
        str(pair): int(rng.lognormal(15.0, 0.6, 1 + number).sum())
        for pair, number in enumerate(fakes)
    }
    parts = division(sizes, count)
    loads = np.zeros(count)
    for pair, number in parts.items():
        loads[number - 1] += sizes[pair]
    assert loads.max() / loads.mean() <= 1.2
    assert parts == division(dict(reversed(sizes.items())), count), "the order does not matter"


@pytest.mark.parametrize(
    ("text", "environment", "part"),
    [
        ("1/1", {}, Part(1, 1)),
        ("3/8", {"SLURM_ARRAY_TASK_ID": "5"}, Part(3, 8)),
        (
            "auto",
            {
                **{"SLURM_ARRAY_TASK_ID": "12", "SLURM_ARRAY_TASK_MIN": "10"},
                **{"SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_STEP": "1"},
            },
            Part(3, 4),
        ),
        (
            "auto",
            {
                **{"SLURM_ARRAY_TASK_ID": "6", "SLURM_ARRAY_TASK_MIN": "0"},
                **{"SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_STEP": "2"},
            },
            Part(4, 4),
        ),
        # One task of eight that is started again: Slurm's own count would be 1.
        (
            "auto",
            {
                **{"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "5"},
                **{"SLURM_ARRAY_TASK_COUNT": "1", "DEEPFAKE_PARTS": "8"},
            },
            Part(6, 8),
        ),
        ("auto", {"JOB_COMPLETION_INDEX": "0", "DEEPFAKE_PARTS": "8"}, Part(1, 8)),
    ],
)
def test_a_part_is_named_or_told_by_the_scheduler(text, environment, part):
    assert Part.parse(text, environment) == part


@pytest.mark.parametrize(
    ("text", "environment", "words"),
    [
        ("0/8", {}, "part 0 of 8 does not exist"),
        ("9/8", {}, "part 9 of 8 does not exist"),
        ("3", {}, "give a part as 3/8, or auto"),
        ("-1/3", {}, "give a part as 3/8"),
        ("auto", {}, "neither SLURM_ARRAY_TASK_ID"),
        ("auto", {"JOB_COMPLETION_INDEX": "2"}, "set DEEPFAKE_PARTS to the job's completions"),
        ("auto", {"JOB_COMPLETION_INDEX": "8", "DEEPFAKE_PARTS": "8"}, "which counts from 0"),
        ("auto", {"JOB_COMPLETION_INDEX": "x", "DEEPFAKE_PARTS": "8"}, "'x' is no whole number"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "2"}, "part 3 of 0 does not exist"),
    ],
)
def test_mistakes_are_named(text, environment, words):
    with pytest.raises(UsageError, match=words):
        Part.parse(text, environment)
