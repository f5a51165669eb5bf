"""ExampleValidator stops the run on data that do not follow the curated schema, and says where."""

import re
from pathlib import Path

import pytest
from cases.node_case import execute, make_artifact
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

import pipeline
from preprocessing.extraction import face_example
from preprocessing.support.errors import UsageError

SCHEMA = Path(pipeline.__file__).parent / "schema" / "schema.pbtxt"


@pytest.fixture(scope="module")
def schema():
    return text_format.Parse(SCHEMA.read_text(), schema_pb2.Schema())


def test_schema_describes_exactly_the_features_of_a_face(schema):
    import tensorflow as tf

    kinds = {
        tf.string: schema_pb2.BYTES,
        tf.int64: schema_pb2.INT,
        tf.float32: schema_pb2.FLOAT,
    }
    described = {
        feature.name: (feature.type, [dim.size for dim in feature.shape.dim])
        for feature in schema.feature
    }
    written = {
        name: (kinds[spec.dtype], spec.shape or [1])
        for name, spec in face_example.feature_spec().items()
    }
    assert described == written
    assert set(described) == set(face_example.FEATURES)


def test_schema_lets_no_feature_be_absent(schema):
    for feature in schema.feature:
        assert (feature.presence.min_fraction, feature.presence.min_count) == (1, 1), feature.name


def faces(split, change=lambda features: None):
    """Eight serialized Examples; `change` is applied to the features of one of them."""
    examples = []
    for number in range(8):
        label = number % 2
        examples.append(
            face_example.make_example(
                jpeg=b"\xff\xd8 not decoded here",
                label=label,
                clip_id=f"{split}/{number}.mp4",
                dataset="folder",
                method="swap" if label else "real",
                frame_index=3 * number,
                timestamp_ms=120 * number,
                box=(1, 2, 30, 40),
                landmarks=range(10),
                score=0.99,
            )
        )
    change(examples[3].features.feature)
    return [example.SerializeToString() for example in examples]


@pytest.fixture
def validate(tmp_path):
    """Runs the executor on the real statistics of {split: serialized Examples}."""
    import tensorflow_data_validation as tfdv
    from tensorflow_data_validation.statistics import stats_impl
    from tfx.types import standard_artifacts
    from tfx_bsl.coders import example_coder

    from components.example_validator.executor import Executor

    def validate(**records):
        statistics = make_artifact(
            standard_artifacts.ExampleStatistics, tmp_path / "statistics", tuple(records)
        )
        for split, examples in records.items():
            batch = example_coder.ExamplesToRecordBatchDecoder().DecodeBatch(examples)
            computed = stats_impl.generate_statistics_in_memory(batch, tfdv.StatsOptions())
            folder = tmp_path / "statistics" / f"Split-{split}"
            folder.mkdir(parents=True)
            (folder / "FeatureStats.pb").write_bytes(computed.SerializeToString())
        schema = make_artifact(standard_artifacts.Schema, tmp_path / "schema")
        (tmp_path / "schema").mkdir()
        (tmp_path / "schema" / "schema.pbtxt").write_bytes(SCHEMA.read_bytes())
        anomalies = make_artifact(standard_artifacts.ExampleAnomalies, tmp_path / "anomalies")
        execute(
            Executor,
            tmp_path,
            {"statistics": [statistics], "schema": [schema]},
            {"anomalies": [anomalies]},
            {"exclude_splits": "[]"},
        )
        return anomalies

    return validate


@pytest.mark.integration
def test_faces_as_extraction_writes_them_pass(validate):
    # Clips, and so their names, differ from split to split; that is no anomaly.
    anomalies = validate(train=faces("train"), val=faces("val"), test=faces("test"))
    assert anomalies.get_json_value_custom_property("blessed") == {"train": 1, "val": 1, "test": 1}


def drop(name):
    return lambda features: features.pop(name)


def wrong_label(features):
    features[face_example.LABEL].int64_list.value[:] = [2]


def short_box(features):
    features[face_example.BOX].float_list.value[:] = [1, 2, 3]


def high_score(features):
    features[face_example.SCORE].float_list.value[:] = [1.5]


def unknown_feature(features):
    features["age"].int64_list.value[:] = [40]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("change", "feature"),
    [
        (drop(face_example.IMAGE), face_example.IMAGE),
        (drop(face_example.PAIR_ID), face_example.PAIR_ID),
        (wrong_label, face_example.LABEL),
        (short_box, face_example.BOX),
        (high_score, face_example.SCORE),
        (unknown_feature, "age"),
    ],
    ids=["no image", "no pair", "label 2", "short box", "score 1.5", "unknown"],
)
def test_anomaly_stops_the_run_and_names_split_and_feature(validate, change, feature):
    with pytest.raises(UsageError) as caught:
        validate(train=faces("train"), val=faces("val", change))
    heading, *found = str(caught.value).splitlines()
    assert "pipeline/schema/schema.pbtxt" in heading
    assert [line for line in found if re.match(rf"  val: '?{re.escape(feature)}'?: \S", line)]
    assert not [line for line in found if line.startswith("  train")]
