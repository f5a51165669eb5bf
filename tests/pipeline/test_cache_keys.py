"""Every node's digest follows what the node runs: the real modules, not a list of them."""

import ast
import json
import shutil
import subprocess
import sys

import pytest

from pipeline.cache_keys import ENTRY_POINTS, node_code
from preprocessing.extraction import face_extraction
from preprocessing.support import libraries
from preprocessing.support.fingerprint import code_digest
from preprocessing.support.import_closure import PACKAGES, ROOT, closure_of
from preprocessing.support.libraries import library_versions

KEYS = {**ENTRY_POINTS, "face store": face_extraction.STORE_ENTRY_POINTS}
each_key = pytest.mark.parametrize("entry_points", KEYS.values(), ids=KEYS)
# What decides results without being in Python, and each node that must depend on it.
LIBRARIES = {
    "opencv-python-headless": ["FaceExtractor", "face store", "Trainer"],
    "av": ["FaceExtractor", "face store"],
    "pillow": ["FaceExtractor", "face store"],
    "mtcnn": ["FaceExtractor", "face store"],
    "apache-beam": ["FaceExtractor", "Evaluator"],
    "tensorflow": [*(set(KEYS) - {"ExampleValidator", "BlessedModel"})],
    "keras": ["Trainer", "Tuner"],
    "scipy": ["Trainer", "ClipEvaluator"],
    "scikit-learn": ["Trainer", "ClipEvaluator"],
    "tensorflow-transform": ["Transform", "Trainer"],
    "tensorflow-data-validation": ["ExampleValidator"],
    "tensorflow-model-analysis": ["Evaluator"],
    "tfx": [*(set(ENTRY_POINTS) - {"FaceExtractor", "BlessedModel"})],
    # TFX's types and base classes; each release of TFX has one of its own.
    "ml-pipelines-sdk": [*ENTRY_POINTS],
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the sources, to be changed and put back."""
    root = tmp_path_factory.mktemp("tree")
    for package in filter(lambda package: (ROOT / package).is_dir(), PACKAGES):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("*.pyc"))
    return root


def file_of(root, module):
    path = root.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


class Changed:
    """Files with other content as long as the context lasts."""

    def __init__(self, *paths, change):
        self._before = {path: path.read_bytes() for path in paths}
        self._change = change

    def __enter__(self):
        for path, content in self._before.items():
            path.write_bytes(self._change(content))

    def __exit__(self, *_):
        for path, content in self._before.items():
            path.write_bytes(content)


def add_statement(content: bytes) -> bytes:
    return content + b"\n_CHANGED = True\n"


def rewrite(content: bytes) -> bytes:
    """Other docstrings, comments and formatting, and the same code."""
    tree = ast.parse(content)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node) is not None:
                del node.body[0]
            node.body.insert(0, ast.Expr(ast.Constant("Another docstring.")))
    return b"# Another comment.\n" + ast.unparse(ast.fix_missing_locations(tree)).encode()


@each_key
def test_every_module_of_the_closure_counts(tree, entry_points):
    key = code_digest(*entry_points, root=tree)
    for module in closure_of(*entry_points, root=tree).modules:
        with Changed(file_of(tree, module), change=add_statement):
            assert code_digest(*entry_points, root=tree) != key, module
    assert code_digest(*entry_points, root=tree) == key


@each_key
def test_comments_docstrings_and_formatting_do_not_count(tree, entry_points):
    key = code_digest(*entry_points, root=tree)
    files = [file_of(tree, name) for name in closure_of(*entry_points, root=tree).modules]
    with Changed(*files, change=rewrite):
        assert all(b"Another" in file.read_bytes() for file in files)
        assert code_digest(*entry_points, root=tree) == key


@each_key
def test_other_modules_do_not_count(tree, entry_points):
    key = code_digest(*entry_points, root=tree)
    counted = {file_of(tree, name) for name in closure_of(*entry_points, root=tree).modules}
    others = [path for path in tree.rglob("*.py") if path not in counted]
    assert len(others) > 50
    with Changed(*others, change=add_statement):
        assert code_digest(*entry_points, root=tree) == key


@each_key
def test_data_files_count(tree, entry_points):
    key = code_digest(*entry_points, root=tree)
    for path in closure_of(*entry_points, root=tree).data:
        with Changed(tree / path, change=lambda content: content + b" "):
            assert code_digest(*entry_points, root=tree) != key, path


def test_no_data_file_of_a_node_is_forgotten(tree):
    """Templates and the like: a module beside or above them that is in a closure names them."""
    counted = set().union(*(closure_of(*entries, root=tree).data for entries in KEYS.values()))
    data = {
        path.relative_to(tree).as_posix()
        for package in ("components", "preprocessing")
        for path in (tree / package).rglob("*")
        if path.is_file() and path.suffix != ".py"
    }
    assert data <= counted


@each_key
def test_libraries_count_where_they_are_imported(tree, entry_points, monkeypatch):
    real = libraries.installed
    upgraded = set()
    monkeypatch.setattr(
        libraries, "installed", lambda name: real(name) + (".1" if name in upgraded else "")
    )
    key = code_digest(*entry_points, root=tree)
    versions = library_versions(closure_of(*entry_points, root=tree).imports)
    names = {version.partition("==")[0] for version in versions}
    for name in names:
        upgraded = {name}
        assert code_digest(*entry_points, root=tree) != key, name
    tops = libraries._files_by_name()
    everything = {name for top in tops for name in libraries.distributions_of(top)}
    assert {"kfp", "docker", "ruff"} <= everything - names
    upgraded = everything - names
    assert code_digest(*entry_points, root=tree) == key


def test_nodes_depend_on_the_libraries_that_make_their_results():
    versions = {node: library_versions(closure_of(*KEYS[node]).imports) for node in KEYS}
    assert not [version for lines in versions.values() for version in lines if "==-" in version]
    installed = {
        node: {version.partition("==")[0] for version in lines} for node, lines in versions.items()
    }
    for library, nodes in LIBRARIES.items():
        assert [node for node in nodes if library not in installed[node]] == [], library


def top_level(entry_points):
    """The first names of what a closure imports from elsewhere."""
    return {name.partition(".")[0] for name in closure_of(*entry_points).imports}


@pytest.mark.parametrize("node", ["Transform", "Tuner", "Trainer"])
def test_learning_does_not_follow_extraction_nor_serving(node):
    """Their part in it comes as data; an edit of a decoder or a server alone retrains nothing."""
    assert not {"av", "mtcnn", "uvicorn"} & top_level(ENTRY_POINTS[node])
    assert not [name for name in closure_of(*ENTRY_POINTS[node]).modules if "server" in name]


def test_the_face_store_does_not_follow_beam_nor_tfx():
    assert not {"apache_beam", "tfx"} & top_level(KEYS["face store"])


def test_child_processes_are_followed():
    """The decoder's child reads media with PyAV; the checked server runs in a child, too."""
    assert {"av", "pillow_heif"} <= top_level(ENTRY_POINTS["FaceExtractor"])
    assert "uvicorn" in top_level(ENTRY_POINTS["ServingCheck"])
    assert "serving.server.__main__" in closure_of(*ENTRY_POINTS["ServingCheck"]).modules


@pytest.mark.integration
def test_closures_hold_all_that_is_imported():
    """Each entry point is imported in a process of its own; Python says what that loaded."""
    code = f"""
import importlib, json, os, sys
for name in ("tfx.v1", "tensorflow_model_analysis", "tensorflow_transform", "keras_tuner", "cv2"):
    importlib.import_module(name)
assert not [name for name in sys.modules if name.partition(".")[0] in {PACKAGES}]
for key, entries in {KEYS}.items():
    reading, writing = os.pipe()
    if not os.fork():
        for entry in entries:
            importlib.import_module(entry)
        loaded = [name for name in sys.modules if name.partition(".")[0] in {PACKAGES}]
        os.write(writing, json.dumps(loaded).encode())
        os._exit(0)
    os.close(writing)
    print("LOADED", json.dumps([key, json.load(os.fdopen(reading))]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("LOADED ")]
    loaded = dict(json.loads(line.partition(" ")[2]) for line in lines)
    assert set(loaded) == set(KEYS)
    for key, modules in loaded.items():
        assert set(modules) <= set(closure_of(*KEYS[key]).modules), key
        assert set(KEYS[key][:1]) <= set(modules), key


@pytest.mark.integration
@pytest.mark.parametrize("kubeflow", [False, True])
def test_every_node_of_ours_has_the_digest_of_what_it_runs(kubeflow):
    from pipeline.config import load_config
    from pipeline.inputs import Inputs
    from pipeline.pipeline import create_pipeline

    config = load_config("folder", ["output=/out", "tuner.enabled=true"])
    inputs = Inputs(
        "/out/manifest.csv", "0" * 64, "/data", "/out/schema.pbtxt", "/out/failures.json"
    )
    wired = {}
    for node in create_pipeline(config, inputs, kubeflow).components:
        module = module_of(node)
        if module.partition(".")[0] in PACKAGES:
            name = type(node).__name__
            wired[name] = code_of(node)
            assert module == ENTRY_POINTS[name][0]
    known = set(ENTRY_POINTS) - (set() if kubeflow else {"BlessedModel"})
    backbone = ["components.trainer.backbones.nasnet"]
    chosen = {"Trainer": backbone, "Tuner": backbone}
    assert wired == {name: node_code(name, *chosen.get(name, [])) for name in known}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("change", "searched_again"),
    [
        ("verdict.miss_rate=0.1", False),
        ("training.epochs=3", False),
        ("data.split=official", False),
        ("training.head_epochs=3", True),
        ("extraction.margin=1.5", True),
        ("tuner.epochs=3", True),
    ],
)
def test_the_tuner_searches_again_for_what_its_trials_read(change, searched_again):
    from pipeline.config import load_config
    from pipeline.inputs import Inputs
    from pipeline.pipeline import create_pipeline

    def search(*overrides: str, **more) -> str:
        config = load_config("folder", ["output=/out", "tuner.enabled=true", *overrides])
        paths = "/out/schema.pbtxt", "/out/failures.json"
        inputs = Inputs("/out/manifest.csv", "0" * 64, "/data", *paths, **more)
        nodes = {type(node).__name__: node for node in create_pipeline(config, inputs).components}
        return nodes["Tuner"].exec_properties["custom_config"]

    assert (search(change) != search()) is searched_again
    assert search(provenance={"name": "another"}) == search()


def test_only_the_backbone_that_is_trained_counts():
    modules = closure_of(*ENTRY_POINTS["Trainer"], "components.trainer.backbones.tiny").modules
    backbones = {name for name in modules if name.startswith("components.trainer.backbones.")}
    assert backbones == {
        f"components.trainer.backbones.{name}" for name in ("base", "tiny", "weights")
    }


def module_of(node) -> str:
    """The module that has the node's work done: a function that TFX's executor calls, or ours."""
    for key in ("run_fn", "tuner_fn", "preprocessing_fn"):
        if function := node.exec_properties.get(key):
            return function.rpartition(".")[0]
    executor = getattr(node.executor_spec, "executor_class", None)
    return executor.__module__ if executor else ""


def code_of(node) -> str:
    properties = node.exec_properties
    if "code" in properties:
        return properties["code"]
    return json.loads(properties["custom_config"])["code"]


def test_the_copy_has_the_keys_of_the_original(tree):
    for entry_points in KEYS.values():
        assert code_digest(*entry_points, root=tree) == code_digest(*entry_points)
