"""The face store: damaged files."""

import json

import pytest
import tensorflow as tf

from preprocessing.extraction.clip_row import ClipRow
from preprocessing.extraction.face_store import read_examples, read_row, write_clip

ROW = ClipRow(path="a.mp4", label=0, method="real", crops=3, reason="")
EXAMPLES = [b"x" * 40, b"y" * 400, b"z" * 40]
# A TFRecord has 8 bytes of length, 4 of its checksum, the data, and 4 of theirs.
FRAME = 16


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "key" / "clip.tfrecord"
    write_clip(path, ROW, EXAMPLES)
    return path


def test_whole_file(stored):
    assert read_row(stored) == ROW
    assert list(read_examples(stored)) == EXAMPLES
    assert [path.name for path in stored.parent.iterdir()] == [stored.name]


@pytest.mark.parametrize("record", [1, 2, 3])
@pytest.mark.parametrize("inside", [0, 7], ids=["at the border", "inside"])
def test_cut_off(stored, record, inside):
    data = stored.read_bytes()
    sizes = [len(data) - sum(len(example) + FRAME for example in EXAMPLES)]
    sizes += [len(example) + FRAME for example in EXAMPLES]
    stored.write_bytes(data[: sum(sizes[:record]) + inside])
    assert read_row(stored) is None


def test_every_byte_is_under_a_checksum(stored):
    data = stored.read_bytes()
    for position in range(0, len(data), 5):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        stored.write_bytes(damaged)
        assert read_row(stored) is None, f"a flipped bit in byte {position}"


@pytest.mark.parametrize("content", [b"", b"{}", b"\0" * 64])
def test_no_records(stored, content):
    stored.write_bytes(content)
    assert read_row(stored) is None


@pytest.mark.parametrize(
    "row", [ROW.to_dict() | {"crops": 2}, ROW.to_dict() | {"crops": 4}, {"crops": 3}, {}, []]
)
def test_row_that_does_not_fit_its_examples(tmp_path, row):
    path = tmp_path / "clip.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in (json.dumps(row).encode(), *EXAMPLES):
            writer.write(record)
    assert read_row(path) is None
