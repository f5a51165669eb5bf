import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from trainer_workbench import SIZE, encode, face_like, write_split

from components.trainer.config import TrainingConfig
from components.trainer.crop_store import CropStore, missing_classes
from components.trainer.input import evaluation_dataset, training_dataset
from components.trainer.sampling import build_sampler
from components.transform.preprocessing import decode_images
from preprocessing.extraction.face_example import make_example
from preprocessing.faces.crop_settings import CropSettings
from preprocessing.support.errors import UsageError


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


def test_store_knows_where_the_face_lies_in_the_crop(tmp_path):
    points = np.array([(40, 40), (60, 40), (50, 50), (42, 60), (58, 60)], np.float32)
    (tmp_path / "Split-train").mkdir()
    with tf.io.TFRecordWriter(str(tmp_path / "Split-train" / "0.gz"), options="GZIP") as writer:
        for clip, landmarks in (("a", points), ("b", points * 0)):
            example = make_example(
                jpeg=b"", label=0, clip_id=clip, box=(30, 25, 70, 75), landmarks=landmarks
            )
            writer.write(example.SerializeToString())
    with CropStore([f"{tmp_path}/Split-train/*"], "train", CropSettings(margin=2.0)) as store:
        known, unknown = store.landmarks([0, 1])
    # A square of 100 pixels from (0, 0); pixel 50 covers 50 to 51.
    np.testing.assert_allclose(known, (points + 0.5) / 100, atol=1e-6)
    assert np.isnan(unknown).all()


def test_store_says_when_the_disk_is_too_small(workbench, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(UsageError, match="set TMPDIR to a folder with more room"):
        CropStore([f"{workbench.records}/Split-train/*"], "train")


def _transform(encoded):
    return decode_images(encoded, SIZE)


@pytest.fixture
def train(workbench):
    with CropStore([f"{workbench.records}/Split-train/*"], "train") as store:
        yield store


def _batches(store, take=3, start=0, seed=5, strength="strong", **config):
    sampler = build_sampler(store.table, TrainingConfig(**{"batch_size": 8, **config}), seed)
    data = training_dataset(store, sampler, _transform, strength, seed, start)
    return [tuple(part.numpy() for part in batch) for batch in data.take(take)]


def _assert_equal(batches, others):
    for batch, other in zip(batches, others, strict=True):
        for part, same in zip(batch, other, strict=True):
            np.testing.assert_array_equal(part, same)


def test_training_data_is_the_same_for_a_seed_and_balanced(train):
    first, again, other = _batches(train), _batches(train), _batches(train, seed=6)
    _assert_equal(first, again)
    for x, y in first:
        assert x.shape == (8, SIZE, SIZE, 3)
        assert y[:, 0].tolist() == [0.0, 1.0] * 4
    assert np.abs(first[0][0] - other[0][0]).max() > 0.1


@pytest.mark.parametrize(
    "config",
    [{}, {"pseudo_fakes": "self_blended", "pseudo_fake_share": 0.5}, {"sampling": "weighted"}],
    ids=["paired", "pseudo-fakes", "weighted"],
)
def test_a_resumed_training_sees_what_it_would_have_seen(train, config):
    whole = _batches(train, take=14, **config)
    for start in (1, 11):
        _assert_equal(_batches(train, take=3, start=start, **config), whole[start : start + 3])


def test_a_late_start_reads_no_earlier_crop(train, monkeypatch):
    read = []
    monkeypatch.setattr(
        train, "read", lambda numbers: read.append(len(numbers)) or CropStore.read(train, numbers)
    )
    _batches(train, take=1, start=5000)
    # The one that is taken, and what prefetch and parallel calls begin after it.
    assert 8 <= sum(read) < 50 * 8


def test_a_pair_stands_side_by_side(train):
    (x, y), *_ = _batches(train, take=1, strength="none")
    crops = _transform(tf.constant(train.read(np.arange(len(train.table))))).numpy()
    own = [int(np.abs(crops - one).max(axis=(1, 2, 3)).argmin()) for one in x]
    assert train.table.labels[own].tolist() == y[:, 0].tolist()
    for real, fake in zip(own[0::2], own[1::2], strict=True):
        assert train.table.pairs[fake] == train.table.clips[real]
        assert train.table.frames[fake] == train.table.frames[real]


def test_shuffled_data_shows_every_crop_once_with_its_label(train):
    crops = len(train.table)
    batches = _batches(train, 12, strength="none", sampling="shuffled", batch_size=crops // 12)
    x, y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    expected = _transform(tf.constant(train.read(np.arange(crops)))).numpy()
    own = [int(np.abs(expected - one).max(axis=(1, 2, 3)).argmin()) for one in x]
    assert sorted(own) == list(range(crops))
    assert own != sorted(own)
    assert train.table.labels[own].tolist() == y[:, 0].tolist()


def test_weighted_data_carries_weights_that_fit_takes(train):
    batches = _batches(train, sampling="weighted", batch_size=7)
    for x, y, weights in batches:
        assert len(x) == 7
        assert weights.shape == (7,)
        # As many real as fake crops here.
        np.testing.assert_array_equal(weights, np.ones(7))
        assert set(np.unique(y)) <= {0.0, 1.0}


def test_pseudo_fakes_need_no_fake_and_show_their_own_real_crop(tmp_path):
    folder = write_split(tmp_path, "train", clips=6, seed=0, labels=(0,))
    with CropStore([f"{folder}/*"], "train") as store:
        batches = _batches(store, take=6, strength="none", pseudo_fakes="self_blended")
    for x, y in batches:
        assert y[:, 0].tolist() == [0.0, 1.0] * 4
        difference = np.abs(x[0::2] - x[1::2]).max(axis=-1)
        assert (difference.max(axis=(1, 2)) > 0.02).all()
        # Equal where the mask never is; colours are coded in blocks of 16x16.
        assert (difference[:, :8, :8] < 1e-6).all()
        assert (difference[:, :8, -8:] < 1e-6).all()


def test_evaluation_data_is_every_crop_in_order_untouched(workbench):
    with CropStore([f"{workbench.records}/Split-val/*"], "val") as store:
        found = np.concatenate([x.numpy() for x in evaluation_dataset(store, _transform, 16)])
        expected = _transform(tf.constant(store.read(np.arange(len(store.table)))))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.integration
def test_a_process_may_end_while_a_dataset_fills_its_buffers(workbench):
    code = f"""
from components.trainer.crop_store import CropStore
from components.trainer.input import training_dataset
from components.trainer.sampling import PairedSampler
from components.transform.preprocessing import decode_images

store = CropStore(["{workbench.records}/Split-train/*"], "train")
sampler = PairedSampler(store.table, 8, 1, share=1.0)
data = iter(training_dataset(store, sampler, lambda x: decode_images(x, 64), "light", 1))
next(data)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
