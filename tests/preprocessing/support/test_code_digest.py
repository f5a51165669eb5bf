"""The digest of code: what is followed, what counts, and what does not."""

import shutil
import textwrap

import pytest

from preprocessing.support import libraries
from preprocessing.support.fingerprint import code_digest, settings_digest
from preprocessing.support.import_closure import closure_of
from preprocessing.support.libraries import distributions_of, library_versions

MAIN = "components.main"


def put(root, path, text=""):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(text))
    return file


@pytest.fixture
def root(tmp_path):
    """Packages with modules a to e, none of which imports another."""
    for package in ("preprocessing", "components"):
        put(tmp_path, f"{package}/__init__.py")
        for name in "abcde":
            put(tmp_path, f"{package}/{name}.py", f"{name.upper()} = 1\n")
    return tmp_path


def followed(root, text):
    """The modules that components/main.py leads to with this text, without those above it."""
    put(root, "components/main.py", text)
    return set(closure_of(MAIN, root=root).modules) - {MAIN, "components"}


@pytest.mark.parametrize(
    ("text", "modules"),
    [
        ("import json, numpy.random", set()),
        ("import preprocessing.a as x", {"preprocessing", "preprocessing.a"}),
        ("from preprocessing.a import A", {"preprocessing", "preprocessing.a"}),
        ("from preprocessing import a, b", {"preprocessing", "preprocessing.a", "preprocessing.b"}),
        ("from preprocessing import VERSION", {"preprocessing"}),
        ("from . import a", {"components.a"}),
        ("from .a import A", {"components.a"}),
        ("from components import *", set()),
        ("def f():\n    from components.a import A\n    return A", {"components.a"}),
        ("class C:\n    async def f(self):\n        import components.a", {"components.a"}),
        ("try:\n    import components.a\nexcept ImportError:\n    pass", {"components.a"}),
        ("match x:\n    case True:\n        import components.a", {"components.a"}),
        ("if TYPE_CHECKING:\n    import components.a", set()),
        ("if typing.TYPE_CHECKING:\n    from .a import A", set()),
        ("if TYPE_CHECKING:\n    x = 1\nelse:\n    import components.a", {"components.a"}),
        (
            "def f():\n    if TYPE_CHECKING:\n        x = 1\n    import components.a",
            {"components.a"},
        ),
    ],
)
def test_imports_are_followed(root, text, modules):
    assert followed(root, text) == modules


@pytest.mark.parametrize(
    ("text", "modules"),
    [
        ("importlib.import_module('components.a')", {"components.a"}),
        ("run_fn = 'components.a.run'", {"components.a"}),
        ("Popen([executable, '-m', 'components.a'])", {"components.a"}),
        ("'''components.a'''", set()),
        ("def f():\n    '''components.a'''", set()),
        ("class C:\n    x: int\n    'components.a'", set()),
        ("x = 'see components.a'", set()),
        ("x = 'components.missing.name'", set()),
        ("x = 'components'", set()),
        ("x = 'numpy.random'", set()),
    ],
)
def test_texts_that_name_modules_are_followed(root, text, modules):
    assert followed(root, text) == modules


def test_a_package_that_runs_counts_with_its_main_module(root):
    put(root, "components/server/__init__.py")
    put(root, "components/server/__main__.py", "from components import b")
    server = {"components.server"}
    run = {"components.server.__main__", "components.b"}
    assert followed(root, "from components import server") == server
    assert followed(root, "Popen([executable, '-m', 'components.server'])") == server | run


def test_modules_behind_modules_are_followed_in_circles_too(root):
    put(root, "components/a.py", "from components import b")
    put(root, "components/b.py", "def f():\n    from components import c, a")
    assert followed(root, "import components.a") == {f"components.{n}" for n in "abc"}


def test_relative_imports_above_the_package(root):
    put(root, "components/inner/__init__.py", "from ..a import A")
    put(root, "components/inner/deep.py", "from . import other\nfrom ..b import B")
    put(root, "components/inner/other.py")
    names = ("a", "b", "inner", "inner.deep", "inner.other")
    assert followed(root, "import components.inner.deep") == {f"components.{n}" for n in names}


def test_what_an_import_cannot_find_is_an_error(root):
    put(root, "components/main.py", "from components.gone import x")
    with pytest.raises(ModuleNotFoundError, match=r"components\.gone, which components\.main"):
        code_digest(MAIN, root=root)
    with pytest.raises(ModuleNotFoundError, match=r"no module components.missing$"):
        code_digest("components.missing", root=root)


SOURCE = '''
"""Adds."""

import numpy as np  # For arrays.


def add(left: int, right: int = 1_000) -> int:
    """Adds two numbers."""
    return (left + right) * len("ab" "c")
'''


@pytest.mark.parametrize(
    "change",
    [
        (" # For arrays.", " # Of numbers."),
        ('"""Adds."""', ""),
        ('"""Adds two numbers."""\n', '"""Adds."""\n    "More."\n'),
        ("1_000", "1000"),
        ('"ab" "c"', "'abc'"),
        ("(left + right)", "(\n        left\n        + right\n    )"),
        ("\n\n\n", "\n"),
    ],
)
def test_comments_docstrings_and_formatting_do_not_count(root, change):
    before, after = change
    assert before in SOURCE
    put(root, "components/main.py", SOURCE)
    key = code_digest(MAIN, root=root)
    put(root, "components/main.py", SOURCE.replace(before, after))
    assert code_digest(MAIN, root=root) == key


@pytest.mark.parametrize(
    "change",
    [
        ("left + right", "left - right"),
        ("left + right", "right + left"),
        ("1_000", "1_001"),
        ("1_000", "1_000.0"),
        ('"ab"', 'b"ab"'),
        ("import numpy as np", "import numpy"),
        ("def add", "def plus"),
        ("(left + right) * len", "left + right * len"),
        ("left: int", "left: float"),
        ("def add", "@cache\ndef add"),
        ("def add", "async def add"),
    ],
)
def test_all_else_counts(root, change):
    before, after = change
    assert before in SOURCE
    put(root, "components/main.py", SOURCE.replace('"ab" "c"', '"ab"'))
    key = code_digest(MAIN, root=root)
    put(root, "components/main.py", SOURCE.replace('"ab" "c"', '"ab"').replace(before, after))
    assert code_digest(MAIN, root=root) != key


def test_the_place_of_a_statement_counts(root):
    put(root, "components/main.py", "for x in y:\n    f(x)\n    g()\n")
    key = code_digest(MAIN, root=root)
    put(root, "components/main.py", "for x in y:\n    f(x)\ng()\n")
    assert code_digest(MAIN, root=root) != key


def test_what_a_package_holds_above_the_module_counts(root):
    put(root, "components/main.py")
    key = code_digest(MAIN, root=root)
    put(root, "components/__init__.py", "import os")
    assert code_digest(MAIN, root=root) != key


def test_a_function_level_import_counts(root):
    put(root, "components/main.py", "def f():\n    from preprocessing import a\n    return a")
    key = code_digest(MAIN, root=root)
    put(root, "preprocessing/b.py", "B = 2")
    assert code_digest(MAIN, root=root) == key
    put(root, "preprocessing/a.py", "A = 2")
    assert code_digest(MAIN, root=root) != key


def test_data_files_beside_a_module_count(root):
    put(root, "components/main.py", "PAGE = Path(__file__).parent / 'page.html'\n")
    page = put(root, "components/page.html", "one")
    put(root, "components/other.html", "one")
    key = code_digest(MAIN, root=root)
    put(root, "components/other.html", "two")
    assert code_digest(MAIN, root=root) == key
    page.write_text("two")
    assert code_digest(MAIN, root=root) != key


def test_folders_of_data_beside_a_module_count(root):
    put(root, "components/main.py", "loader = FileSystemLoader(HERE / 'templates')\n")
    put(root, "components/templates/base.j2", "one")
    inner = put(root, "components/templates/parts/head.j2", "one")
    put(root, "components/models/base.j2", "one")
    assert set(closure_of(MAIN, root=root).data) == {
        "components/templates/base.j2",
        "components/templates/parts/head.j2",
    }
    key = code_digest(MAIN, root=root)
    inner.write_text("two")
    assert code_digest(MAIN, root=root) != key
    inner.write_text("one")
    put(root, "components/templates/new.j2")
    assert code_digest(MAIN, root=root) != key


def test_packages_and_modules_are_no_data(root):
    put(root, "components/inner/__init__.py")
    put(root, "components/inner/data.csv")
    put(root, "components/main.py", "x = ['inner', 'a.py', '..', '.', 'inner/none.csv', '/etc']")
    assert closure_of(MAIN, root=root).data == {}


def test_the_place_of_the_project_does_not_count(root, tmp_path_factory):
    put(root, "components/main.py", "from components import a\nx = 'page.html'\n")
    put(root, "components/page.html")
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "site-packages"
    shutil.copytree(root, elsewhere)
    (elsewhere / "components" / "__pycache__").mkdir()
    assert code_digest(MAIN, root=elsewhere) == code_digest(MAIN, root=root)


def test_other_entry_points_have_other_digests(root):
    digests = {
        code_digest(*entry_points, root=root)
        for entry_points in (
            ["components.a"],
            ["components.b"],
            ["components.a", "components.b"],
            ["components.a", "numpy"],
        )
    }
    assert len(digests) == 4
    assert all(len(digest) == 16 for digest in digests)


def test_modules_are_not_imported(root):
    put(root, "components/main.py", "raise SystemExit('imported')")
    code_digest(MAIN, root=root)


class TestLibraries:
    def test_distributions_are_found_by_what_is_imported(self):
        wanted = {
            "cv2": "opencv-python-headless",
            "PIL.Image": "pillow",
            "pillow_heif": "pillow-heif",
            "yaml": "pyyaml",
            # Without top_level.txt in their wheels.
            "scipy.optimize": "scipy",
            "sklearn.metrics": "scikit-learn",
            # Names that several distributions share.
            "google.protobuf.text_format": "protobuf",
            "tensorflow.python.framework": "tensorflow",
        }
        assert {name: distributions_of(name) for name in wanted} == {
            name: (distribution,) for name, distribution in wanted.items()
        }

    def test_what_is_taken_from_a_shared_name_counts(self, root):
        put(root, "components/main.py", "from google import protobuf")
        versions = library_versions(closure_of(MAIN, root=root).imports)
        assert "protobuf" in {version.partition("==")[0] for version in versions}
        assert len(versions) == 1

    def test_versions(self):
        import numpy

        names = ["numpy.random", "numpy", "json", "os.path", "__future__", "no_such_library.part"]
        assert library_versions(names) == ["no_such_library==-", f"numpy=={numpy.__version__}"]

    def test_an_upgrade_counts_where_the_library_is_imported(self, root, monkeypatch):
        put(root, "components/main.py", "def f():\n    import cv2\n")
        key = code_digest(MAIN, root=root)
        real = libraries.installed

        def upgrade(name):
            upgraded = lambda asked: real(asked) + (".1" if asked == name else "")  # noqa: E731
            monkeypatch.setattr(libraries, "installed", upgraded)
            return code_digest(MAIN, root=root)

        assert upgrade("numpy") == key
        assert upgrade("opencv-python-headless") != key

    def test_another_python_is_another_key(self, root, monkeypatch):
        key = code_digest("components.a", root=root)
        monkeypatch.setattr("platform.python_version_tuple", lambda: ("3", "99", "0"))
        assert code_digest("components.a", root=root) != key

    def test_its_patch_level_is_not(self, root, monkeypatch):
        import platform

        key = code_digest("components.a", root=root)
        major, minor, _ = platform.python_version_tuple()
        monkeypatch.setattr("platform.python_version_tuple", lambda: (major, minor, "99"))
        assert code_digest("components.a", root=root) == key


def test_settings_digest_knows_values_and_their_order():
    assert settings_digest({"a": 1, "b": 2}) == settings_digest({"b": 2, "a": 1})
    assert settings_digest([1, 2]) != settings_digest([2, 1])
    assert settings_digest(1, 2) != settings_digest([1, 2])
