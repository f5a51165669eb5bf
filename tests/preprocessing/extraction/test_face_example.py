import numpy as np
import pytest
import tensorflow as tf

from preprocessing.extraction import face_example as names

VALUES = {
    "jpeg": b"\xff\xd8",
    "label": 1,
    "clip_id": "fake/é\udcff.mp4",
    "pair_id": "real/a.mp4",
    "track_id": 2,
    "frame_index": 30,
    "timestamp_ms": 1200,
    "dataset": "folder",
    "method": "swap",
    "identity": "a|b",
    "box": np.arange(4.0),
    "landmarks": np.arange(10.0).reshape(5, 2),
    "score": 0.5,
}


def test_record_survives_writing_and_parsing():
    record = names.make_example(**VALUES).SerializeToString()
    parsed = tf.io.parse_single_example(record, names.feature_spec())
    assert set(parsed) == set(names.FEATURES)
    assert parsed[names.CLIP_ID].numpy().decode("utf-8", "surrogateescape") == VALUES["clip_id"]
    assert parsed[names.LABEL] == 1
    assert parsed[names.FRAME_INDEX] == 30
    np.testing.assert_array_equal(parsed[names.BOX], VALUES["box"])
    np.testing.assert_array_equal(parsed[names.LANDMARKS], VALUES["landmarks"].ravel())
    assert parsed[names.SCORE] == 0.5


def test_pair_defaults_to_the_clip_itself():
    example = names.make_example(jpeg=b"", label=0, clip_id="a")
    assert example.features.feature[names.PAIR_ID].bytes_list.value[0] == b"a"


def test_schema_describes_exactly_these_features():
    from pathlib import Path

    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    import pipeline

    text = (Path(pipeline.__file__).parent / "schema" / "schema.pbtxt").read_text()
    schema = text_format.Parse(text, schema_pb2.Schema())
    assert {feature.name for feature in schema.feature} == set(names.FEATURES)


@pytest.mark.parametrize("change", [{"label": 2}, {"box": [1, 2]}, {"landmarks": [1.0] * 9}])
def test_wrong_values_are_refused(change):
    with pytest.raises(ValueError, match=r"it must be 0|it must hold"):
        names.make_example(**{**VALUES, **change})
