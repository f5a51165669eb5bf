"""What `make lint` cannot hold: circles through packages, and the size of files and functions.

`make lint` checks the contracts of pyproject.toml, [tool.importlinter]. Its contract on circles
looks at the children of each package, and so does not see a package that imports its own child
which imports the package.
"""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("pipeline", "components", "serving", "preprocessing", "benchmarks", "tests")
MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 60
# What is longer, and why it is not divided.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS = {
    "benchmarks/extraction.py:_against_plain_loop": "one protocol of measurement, turn by turn",
    "components/trainer/run_fn.py:run_fn": "the order of training, whose parts are functions",
    "preprocessing/extraction/face_example.py:make_example": "the features, and what each holds",
    "preprocessing/extraction/face_extraction.py:run_extraction": "the graph of one Beam pipeline",
}


def check_no_circle(imports: dict[str, set[str]]) -> None:
    """Raises graphlib.CycleError where modules import each other; module -> what it imports."""
    graphlib.TopologicalSorter(imports).prepare()


def test_a_circle_through_a_package_is_seen():
    with pytest.raises(graphlib.CycleError):
        check_no_circle({"package": {"package.child"}, "package.child": {"package"}})


def test_no_module_imports_itself_through_others():
    rooms = ("pipeline", "components", "serving", "preprocessing")
    # Imports in functions count.
    graph = grimp.build_graph(*rooms, exclude_type_checking_imports=True, cache_dir=None)
    assert graph.find_modules_directly_imported_by("serving.gateway.served_versions"), (
        "nothing was read"
    )
    check_no_circle({name: graph.find_modules_directly_imported_by(name) for name in graph.modules})


def sources() -> Iterator[tuple[str, str]]:
    """Path from the root and text of each source file."""
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def test_files_are_short():
    long = {name for name, text in sources() if text.count("\n") > MOST_LINES_OF_A_FILE}
    assert long == set(LONG_FILES)


def test_functions_are_short():
    """From `def` to the last line, docstring included."""
    long = {
        f"{name}:{node.name}"
        for name, text in sources()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno >= MOST_LINES_OF_A_FUNCTION
    }
    assert long == set(LONG_FUNCTIONS)
