"""No circle of imports, not even through the `__init__` of a package.

`make lint` checks the contracts of pyproject.toml, [tool.importlinter]. Its contract on circles
looks at the children of each package, and so does not see a package that imports its own child
which imports the package.
"""

import graphlib

import grimp
import pytest


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
