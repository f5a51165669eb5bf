import itertools

import numpy as np
import pytest
import tensorflow as tf
from trainer_workbench import SIZE, encode, face_like, write_split

from components.trainer.augmentation import STRENGTHS, augment
from components.trainer.crop_store import CropStore, CropTable, missing_classes
from components.trainer.input import evaluation_dataset, training_dataset
from components.trainer.sampling import BalancedSampler, find_partners
from components.transform.preprocessing import decode_images
from preprocessing.errors import UsageError
from preprocessing.face_example import make_example


def _table(rows) -> CropTable:
    """Rows of (label, clip, pair, frame) and optionally the left edge of the box."""
    rows = [(*row, 0) if len(row) == 4 else row for row in rows]
    labels, clips, pairs, frames, lefts = (np.array(column) for column in zip(*rows, strict=True))
    boxes = np.stack([lefts, lefts * 0, lefts + 10, lefts * 0 + 10], axis=1).astype(np.float32)
    names = np.array([str(i) for i in range(clips.max() + 1)], object)
    return CropTable(labels, clips, pairs, frames * 0, frames, boxes, names)


def _take(sampler: BalancedSampler, batches: int) -> np.ndarray:
    return np.stack(list(itertools.islice(sampler.batches(), batches)))


# Clip 0 has two fakes (1 and 2) at frame 0 and none at frame 1; clip 3 has no fake; the original
# of clip 4 is not there.
UNEVEN = _table(
    [
        (0, 0, 0, 0),
        (0, 0, 0, 1),
        (1, 1, 0, 0),
        (1, 2, 0, 0),
        (0, 3, 3, 0),
        (1, 4, -1, 0),
        (1, 4, -1, 1),
    ]
)


def test_partners_are_fakes_of_the_same_original_and_frame():
    assert find_partners(UNEVEN) == {0: [2, 3]}


def test_of_several_faces_the_nearest_is_the_partner():
    table = _table([(0, 0, 0, 0, 10), (0, 0, 0, 0, 200), (1, 1, 0, 0, 195)])
    assert find_partners(table) == {1: [2]}


def test_batches_are_half_real_half_fake_and_pairs_stand_together():
    half = 3
    batches = _take(BalancedSampler(UNEVEN, 2 * half, seed=1), 200)
    assert (UNEVEN.labels[batches[:, :half]] == 0).all()
    assert (UNEVEN.labels[batches[:, half:]] == 1).all()
    beside_0 = batches[:, half:][batches[:, :half] == 0]
    # As a unit of its own, crop 0 stands beside its fakes; lone fakes may stand beside it too.
    assert {2, 3} <= set(beside_0) <= {2, 3, 5, 6}
    assert np.isin(beside_0, [2, 3]).mean() > 0.5


def test_one_pass_shows_every_real_and_every_lone_fake():
    sampler = BalancedSampler(UNEVEN, 2, seed=1)
    assert sampler.steps_per_pass == 5
    for start in (0, 5):
        shown = set(_take(sampler, 10)[start : start + 5].ravel())
        assert {0, 1, 4, 5, 6} <= shown


def test_passes_and_seeds_differ_and_equal_seeds_agree():
    table = _table([(0, i, i, 0) for i in range(20)] + [(1, 20 + i, i, 0) for i in range(20)])
    first = _take(BalancedSampler(table, 4, seed=1), 20)
    np.testing.assert_array_equal(first, _take(BalancedSampler(table, 4, seed=1), 20))
    assert (first != _take(BalancedSampler(table, 4, seed=2), 20)).any()
    assert (first[:10] != first[10:]).any()
    assert (table.pairs[first[:, 2:]] == table.clips[first[:, :2]]).all()


def test_store_returns_the_crops_that_were_written(tmp_path):
    rng = np.random.default_rng(0)
    crops = {}
    (tmp_path / "Split-train").mkdir()
    # Two shards, in an order other than that of the clips.
    for shard, clips in enumerate((("d", "b"), ("a", "c"))):
        path = str(tmp_path / "Split-train" / f"{shard}.gz")
        with tf.io.TFRecordWriter(path, options="GZIP") as writer:
            for clip in clips:
                crops[clip] = encode(face_like(rng, fake=False))
                example = make_example(
                    jpeg=crops[clip], label=int(clip > "b"), clip_id=clip, pair_id="b"
                )
                writer.write(example.SerializeToString())
    with CropStore([f"{tmp_path}/Split-train/*"], "train") as store:
        assert store.table.clip_names.tolist() == [b"a", b"b", b"c", b"d"]
        assert store.table.labels.tolist() == [0, 0, 1, 1]
        assert store.table.pairs.tolist() == [1, 1, 1, 1]
        assert store.read(np.array([3, 0, 0])) == [crops["d"], crops["a"], crops["a"]]


def test_store_refuses_an_empty_split_and_names_a_missing_class(tmp_path):
    write_split(tmp_path, "val", clips=2, seed=0, labels=(0,))
    with CropStore([f"{tmp_path}/Split-val/*"], "val") as store:
        assert missing_classes(store.table) == ["fake"]
    with pytest.raises(UsageError, match="train split holds no crop"):
        CropStore([f"{tmp_path}/Split-train/*"], "train")


def test_store_says_when_the_disk_is_too_small(workbench, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(UsageError, match="set TMPDIR to a folder with more room"):
        CropStore([f"{workbench.records}/Split-train/*"], "train")


def _transform(encoded):
    return decode_images(encoded, SIZE)


def test_training_data_is_the_same_for_a_seed_and_balanced(workbench):
    with CropStore([f"{workbench.records}/Split-train/*"], "train") as store:

        def batches(seed):
            sampler = BalancedSampler(store.table, 8, seed)
            data = training_dataset(store, sampler, _transform, "strong", seed)
            return [(x.numpy(), y.numpy()) for x, y in data.take(3)]

        first, again, other = batches(5), batches(5), batches(6)
    for (x, y), (same_x, same_y) in zip(first, again, strict=True):
        assert x.shape == (8, SIZE, SIZE, 3) and y[:, 0].tolist() == [0.0] * 4 + [1.0] * 4
        np.testing.assert_array_equal(x, same_x)
        np.testing.assert_array_equal(y, same_y)
    assert np.abs(first[0][0] - other[0][0]).max() > 0.1


def test_evaluation_data_is_every_crop_in_order_untouched(workbench):
    with CropStore([f"{workbench.records}/Split-val/*"], "val") as store:
        found = np.concatenate([x.numpy() for x in evaluation_dataset(store, _transform, 16)])
        expected = _transform(tf.constant(store.read(np.arange(len(store.table)))))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.fixture
def faces():
    rng = np.random.default_rng(0)
    faces = np.stack([face_like(rng, fake=False) for _ in range(16)])
    return (faces / 127.5 - 1).astype(np.float32)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_a_pair_gets_the_same_draw(strength, faces):
    doubled = np.concatenate([faces, faces])
    for seed in range(3):
        found = augment(tf.constant(doubled), strength, tf.constant([7, seed])).numpy()
        assert found.shape == doubled.shape and np.abs(found).max() <= 1.0
        np.testing.assert_allclose(found[:16], found[16:], atol=1e-5)


@pytest.mark.parametrize("strength", ["light", "standard", "strong"])
def test_draws_differ_by_crop_and_by_seed_and_agree_in_tf_data(strength, faces):
    same = np.repeat(faces[:1], 32, axis=0)
    found = augment(tf.constant(same), strength, tf.constant([1, 2])).numpy()
    assert len(np.unique(found[:16].mean(axis=(1, 2, 3)).round(6))) > 8
    other = augment(tf.constant(same), strength, tf.constant([1, 3])).numpy()
    assert np.abs(found - other).max() > 0.01

    data = tf.data.Dataset.from_tensors(same).map(lambda x: augment(x, strength, [1, 2]))
    np.testing.assert_allclose(next(iter(data)), found, atol=1e-4)


def test_none_changes_nothing(faces):
    np.testing.assert_array_equal(augment(tf.constant(faces), "none", [1, 2]), faces)


def test_light_only_mirrors_and_changes_colours(faces):
    """What it leaves alone is the grid: no interpolation may take high frequencies away."""
    found = augment(tf.constant(faces), "light", tf.constant([1, 2])).numpy()
    mirrored = 0
    for before, after in zip(faces, found, strict=True):
        # Colours change by an affine map, so unclipped luminance keeps a correlation of 1.
        scores = [
            np.corrcoef(candidate.mean(axis=-1).ravel(), after.mean(axis=-1).ravel())[0, 1]
            for candidate in (before, before[:, ::-1])
        ]
        assert max(scores) > 0.995
        mirrored += scores[1] > scores[0]
    assert 0 < mirrored < 16
