"""The differences of the two environments, and versions that several files name."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool

from preprocessing.support import versions

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "serving" / "deploy"


def test_this_python_has_an_environment_and_its_tfx_is_installed():
    from importlib.metadata import version

    assert version("tfx").startswith(f"{versions.supported_tfx()}.")


def test_files_that_name_pythons_name_the_same():
    pythons = [f"{major}.{minor}" for major, minor in sorted(versions.TFX)]
    first, last = pythons[0], pythons[-1]
    wanted = f'">={first},<3.{int(last.split(".")[1]) + 1}"'
    assert f"python_requires={wanted}" in (ROOT / "setup.py").read_text()
    assert f"requires-python = {wanted}" in (ROOT / "pyproject.toml").read_text()
    script = (ROOT / ".ci" / "make_env").read_text()
    newest = [p for p in reversed(pythons) if versions.TFX[_key(p)] == "1.21"]
    assert f'newest="{" ".join(newest)}"' in script
    major, minor = versions.NEWEST_NEEDS_GLIBC
    assert f"needs glibc {major}.{minor} " in script
    assert f"-ge {minor} ]" in script
    # The images have their Debian's own Python.
    (debian,) = re.findall(r"debian:(\w+)-slim$", (DEPLOY / "Dockerfile").read_text(), re.M)
    assert {"trixie": "3.13"}[debian] == newest[0]


def _key(text):
    return tuple(int(part) for part in text.split("."))


def test_lock_holds_both_environments():
    lock = (ROOT / "uv.lock").read_text()
    pins = (ROOT / "constraints.txt").read_text()
    for name, old, new in _pins_that_differ():
        for version in (old, new):
            assert f'name = "{name}"\nversion = "{version}"' in lock
            assert re.search(rf"^{name}(?:\[\w+\])?=={re.escape(version)} ;", pins, re.M)


def _pins_that_differ():
    text = (ROOT / "setup.py").read_text()
    lists: dict[str, dict[str, str]] = {"1_16": {}, "1_21": {}}
    for side, block in re.findall(r"^(?:TFX|SERVING)_(\w+) = \[(.*?)^\]", text, re.M | re.S):
        lists[side] |= dict(re.findall(r'"([\w-]+)(?:\[\w+\])?==([\w.]+)"', block))
    both = lists["1_16"].keys() & lists["1_21"].keys()
    assert {"tfx", "tensorflow", "protobuf", "numpy"} <= both
    return [(name, lists["1_16"][name], lists["1_21"][name]) for name in sorted(both)]


def test_one_tensorflow_serving_is_named():
    image = f"tensorflow/serving:{versions.TENSORFLOW_SERVING}"
    named = {}
    for path in [*DEPLOY.rglob("*.yaml"), *DEPLOY.rglob("*.md"), ROOT / "README.md"]:
        named[str(path.relative_to(ROOT))] = set(
            re.findall(r"tensorflow/serving:[\w.]+", path.read_text())
        )
    for name in ("README.md", "compose.yaml", "kubernetes/serving.yaml"):
        assert named[f"serving/deploy/{name}"], name
    assert set().union(*named.values()) == {image}
    kserve = yaml.safe_load((DEPLOY / "kubernetes" / "kserve.yaml").read_text())
    runtime = kserve["spec"]["predictor"]["model"]["runtimeVersion"]
    assert runtime == versions.TENSORFLOW_SERVING
    assert (
        f"tensorflow-serving-api=={versions.TENSORFLOW_SERVING}" in (ROOT / "setup.py").read_text()
    )


def test_services_of_tensorflow_serving_are_registered():
    names = versions.serving_service_names()
    assert names == [
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
    ]
    methods = descriptor_pool.Default().FindServiceByName(names[0]).methods_by_name
    assert {"Predict", "Classify", "Regress"} <= set(methods)


def test_message_class_of_a_pool():
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="test.proto", package="test", syntax="proto3")
    file.message_type.add(name="Thing").field.add(
        name="number", number=1, label=1, type=descriptor_pb2.FieldDescriptorProto.TYPE_INT64
    )
    pool.Add(file)
    thing = versions.message_class(pool, "test.Thing")
    assert thing.FromString(thing(number=7).SerializeToString()).number == 7
    with pytest.raises(KeyError):
        versions.message_class(pool, "test.Other")


def test_json_with_default_values():
    from google.protobuf import json_format, wrappers_pb2
    from tensorflow_serving.apis import get_model_status_pb2

    empty = get_model_status_pb2.GetModelStatusResponse()
    assert json_format.MessageToDict(empty) == {}
    shown = json_format.MessageToDict(empty, **versions.json_with_defaults())
    assert shown == {"model_version_status": []}
    assert json_format.MessageToDict(wrappers_pb2.Int64Value(value=0)) == "0"


def test_versions_are_asked_for_in_one_place():
    """No branch on a version of Python or of a library outside support/versions.py."""
    branch = re.compile(r"sys\.version_info|__version__\s*(?:[<>=!]=?|\.)|hasattr\(message_factory")
    sources = [
        path
        for folder in ("components", "pipeline", "preprocessing", "serving")
        for path in (ROOT / folder).rglob("*.py")
    ]
    found = {str(path.relative_to(ROOT)) for path in sources if branch.search(path.read_text())}
    assert found == {"preprocessing/support/versions.py"}
    assert sys.version_info[:2] in versions.TFX
