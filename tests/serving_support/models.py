"""Tiny SavedModels, made by the tests, with known answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from preprocessing.faces.crop_settings import CropSettings
from serving.model.card import FILE

v1 = tf.compat.v1
_UTILS = v1.saved_model.signature_def_utils
_info = v1.saved_model.utils.build_tensor_info


def half_plus_two(folder: Path, offset: float = 2.0, factor: float = 0.5) -> Path:
    """Answers y = factor * x + offset, as TensorFlow Serving's model of this name.

    As there, x and y are declared as float32 [-1, 1], and take other shapes as well. Signatures:
    `serving_default` (x -> y), `regress_x_to_y`, `classify_x_to_y` (scores), `classify_labelled`
    (classes and scores), `regress_x_to_y3` (y + 1), `two_outputs` (x -> y, z), `other_method`,
    whose method name nobody knows, `regress_as_predict` with the method name of native signatures
    of TensorFlow 2, `regress_other_examples`, which has an input of its own, and `with_default`
    (x, and an offset that is 0.5 where it is not sent).
    """
    with tf.Graph().as_default(), v1.Session() as session:
        examples = v1.placeholder(tf.string, [None], "tf_example")
        parsed = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([1], tf.float32, 0.0)})
        x = tf.identity(parsed["x"], "x")
        a = v1.get_variable("a", initializer=factor)
        b = v1.get_variable("b", initializer=offset)
        y = tf.identity(a * x + b, "y")
        y3 = tf.identity(y + 1.0, "y3")
        labels = tf.fill(tf.shape(y), "hello")
        inputs = {"inputs": _info(examples)}
        others = v1.placeholder(tf.string, [None], "other_example")
        other = tf.io.parse_example(others, {"x": tf.io.FixedLenFeature([1], tf.float32, 0.0)})
        offset = v1.placeholder(tf.float32, [], "offset")

        def signature(given, outputs, method):
            return _UTILS.build_signature_def(given, outputs, f"tensorflow/serving/{method}")

        with_default = signature(
            {"x": _info(x), "offset": _info(offset)}, {"y": _info(y + offset)}, "predict"
        )
        with_default.defaults["offset"].CopyFrom(tf.make_tensor_proto(0.5))
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            [tf.saved_model.SERVING],
            signature_def_map={
                "with_default": with_default,
                "regress_as_predict": signature(inputs, {"outputs": _info(y)}, "predict"),
                "regress_other_examples": signature(
                    {"inputs": _info(others)}, {"outputs": _info(other["x"] * 10.0)}, "regress"
                ),
                "serving_default": signature({"x": _info(x)}, {"y": _info(y)}, "predict"),
                "two_outputs": signature(
                    {"x": _info(x)}, {"y": _info(y), "z": _info(y3)}, "predict"
                ),
                "regress_x_to_y": signature(inputs, {"outputs": _info(y)}, "regress"),
                "regress_x_to_y3": signature(inputs, {"outputs": _info(y3)}, "regress"),
                "classify_x_to_y": signature(inputs, {"scores": _info(y)}, "classify"),
                "classify_labelled": signature(
                    inputs, {"scores": _info(y), "classes": _info(labels)}, "classify"
                ),
                "other_method": signature({"x": _info(x)}, {"y": _info(y)}, "unheard_of"),
            },
        )
        builder.save()
    return folder


_ECHO_TYPES = {
    "bool": tf.bool,
    "double": tf.float64,
    "float": tf.float32,
    "int32": tf.int32,
    "int64": tf.int64,
    "text": tf.string,
    "uint8": tf.uint8,
}


def echo(folder: Path) -> Path:
    """Signatures that answer what they are given, one per type and one with all.

    `float`, `int32`, ... take `value` of any shape; `text` also answers `copy_bytes`; `half`
    answers a type that JSON cannot hold; `pair` takes and answers `a` (int32) and `b` (string)
    [n]; `matrix` takes `value` float32 [n, 2]; `scalar` answers without a batch dimension;
    `unequal` answers outputs of different batch sizes; `nothing` divides by integer zero;
    `lengths` answers like a detector, with the lengths of its pictures; `work` runs for as long
    as it is told.
    """
    with tf.Graph().as_default(), v1.Session() as session:
        signatures = {}

        def add(name, inputs, outputs):
            signatures[name] = _UTILS.build_signature_def(
                {key: _info(value) for key, value in inputs.items()},
                {key: _info(tf.identity(value)) for key, value in outputs.items()},
                "tensorflow/serving/predict",
            )

        for name, dtype in _ECHO_TYPES.items():
            value = v1.placeholder(dtype, None, name)
            outputs = {"value": value}
            if dtype == tf.string:
                outputs["copy_bytes"] = value
            add(name, {"value": value}, outputs)
        value = v1.placeholder(tf.float32, [None], "to_half")
        add("half", {"value": value}, {"value": tf.cast(value, tf.float16)})
        a = v1.placeholder(tf.int32, [None], "a")
        b = v1.placeholder(tf.string, [None], "b")
        add("pair", {"a": a, "b": b}, {"a": a, "b": b})
        matrix = v1.placeholder(tf.float32, [None, 2], "matrix")
        add("matrix", {"value": matrix}, {"value": matrix})
        add("scalar", {"value": value}, {"value": tf.reduce_sum(value)})
        add("unequal", {"value": value}, {"value": value, "first": value[:1]})
        number = v1.placeholder(tf.int32, [None], "number")
        add("nothing", {"value": number}, {"value": tf.math.floordiv(1, number - number)})
        image = v1.placeholder(tf.string, [None], "image")
        length = tf.cast(tf.strings.length(image), tf.float32)
        add("lengths", {"image": image}, {"score": tf.sigmoid(length / 8), "logit": length / 8})
        # A loop of `steps` multiplications of 256 x 256: work of a chosen length.
        steps = v1.placeholder(tf.int32, [None], "steps")
        eye = tf.eye(256)
        done = tf.while_loop(
            lambda i, m: i < tf.reduce_max(steps),
            lambda i, m: (i + 1, m @ eye),
            [0, eye * tf.cast(tf.reduce_max(steps), tf.float32) / 1e6],
        )
        add("work", {"steps": steps}, {"done": tf.zeros_like(steps) + done[0]})
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session, [tf.saved_model.SERVING], signature_def_map=signatures
        )
        builder.save()
    return folder


def model_of_crops(folder: Path) -> Path:
    """`face_detector` with the card of a model that was trained on crops as they come."""
    face_detector(folder)
    card = {
        "version": 1,
        "input_size": 64,
        "positive_class": "fake",
        "temperature": 1.0,
        "backbone": "tiny",
        "extraction": CropSettings(precropped=True).to_dict(),
    }
    (folder / FILE).parent.mkdir()
    (folder / FILE).write_text(json.dumps(card))
    return folder


def face_detector(
    folder: Path,
    examples_bias: float = 0.0,
    logit_of: Callable[[tf.Tensor], tf.Tensor] = lambda brightness: brightness / 64.0,
) -> Path:
    """A model with the signatures of an exported detector; its logit is the picture's brightness.

    Args:
      folder: folder of `saved_model.pb`.
      examples_bias: summand, added by `serving_examples` only: what was evaluated is then not what
        is served.
      logit_of: function from brightness (0 to 255) to the logit.
    """

    class Detector(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image")])
        def serving_default(self, image):
            brightness = tf.map_fn(
                lambda data: tf.reduce_mean(
                    tf.cast(tf.io.decode_image(data, 3, expand_animations=False), tf.float32)
                ),
                image,
                fn_output_signature=tf.float32,
            )
            logit = logit_of(brightness)
            return {"score": tf.sigmoid(logit), "logit": logit}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
        def serving_examples(self, examples):
            spec = {"image/encoded": tf.io.FixedLenFeature([], tf.string)}
            parsed = tf.io.parse_example(examples, spec)
            answer = self.serving_default(parsed["image/encoded"])
            return {"score": answer["score"], "logit": answer["logit"] + examples_bias}

    module = Detector()
    signatures = {name: getattr(module, name) for name in ("serving_default", "serving_examples")}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


def write_warmup(folder: Path, logs) -> None:
    """Writes PredictionLog messages where a model's warm-up records are."""
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())


def write_served_models(folder: Path) -> Path:
    """What the conformance suite asks: two models, and the models.config that serves them.

    Returns:
      The path of models.config.
    """
    half_plus_two(folder / "half_plus_two" / "123")
    echo(folder / "echo" / "1")
    config = folder / "models.config"
    config.write_text(
        f"""model_config_list {{
  config {{
    name: "half_plus_two"
    base_path: "{folder}/half_plus_two"
    model_platform: "tensorflow"
    model_version_policy {{ specific {{ versions: 123 }} }}
    version_labels {{ key: "stable" value: 123 }}
  }}
  config {{ name: "echo" base_path: "{folder}/echo" model_platform: "tensorflow" }}
}}
"""
    )
    return config


if __name__ == "__main__":
    import sys

    print(write_served_models(Path(sys.argv[1]).resolve()))
