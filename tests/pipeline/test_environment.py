"""`make env` on machines that lack something: one sentence, exit 2, nothing half-made.

The scripts run with a PATH that holds stubs only, so nothing is installed and no network is used.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKE, BASH = shutil.which("make"), shutil.which("bash")
# `make test` hands its own state on; a make below it would say more than a person's.
OUTSIDE_MAKE = {k: v for k, v in os.environ.items() if k not in ("MAKELEVEL", "MAKEFLAGS")}
TOOLS = ("awk", "bash", "cp", "dirname", "mkdir", "rm", "touch")

LINUX = '[ "$1" = -s ] && echo Linux || echo x86_64'
MAC = '[ "$1" = -s ] && echo Darwin || echo arm64'
PLENTY = "printf 'Filesystem 1048576-blocks Used Available\\nx 90000 1 80000 1%% /\\n'"
FULL = "printf 'Filesystem 1048576-blocks Used Available\\nx 90000 1 17 1%% /\\n'"
OLD_LIBC, NEW_LIBC = "echo glibc 2.36", "echo glibc 2.41"


def python(version, headers=True, venv=True):
    """A Python as far as make_env asks; `-m venv` gives an environment with a copy of it."""
    return f"""case "$*" in
  *version_info*) echo {version} ;;
  *sys.executable*) echo "$0" ;;
  *Python.h*) exit {int(not headers)} ;;
  *ensurepip*) exit {int(not venv)} ;;
  *"-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  *"-m pip"*) exit 1 ;;
esac"""


OLD_PYTHON, NEW_PYTHON = python("3.10"), python("3.13")
BROKEN = "exit 1"
OFFLINE_UV = '[ "$1" = --version ]'
UV_WITH_PYTHON = """case "$*" in
  *"python find 3.13"*) echo "$(dirname "$0")/fetched" ;;
  *sync*) exit 1 ;;
esac"""


@pytest.fixture
def make_env(tmp_path):
    """Runs .ci/make_env for a folder of tmp_path with stubs in place of the machine's programs."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(shutil.which(tool))

    def make_env(stubs, **variables):
        machine = {"uname": LINUX, "df": PLENTY, "getconf": OLD_LIBC, "c++": "exit 0"}
        for name, body in {**machine, **stubs}.items():
            if body is None:
                continue
            stub = programs / name
            stub.write_text(f"#!{BASH}\n{body}\n")
            stub.chmod(0o755)
        return subprocess.run(
            [BASH, ROOT / ".ci" / "make_env", tmp_path / "venv"],
            env={"PATH": str(programs), "HOME": str(tmp_path), **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return make_env


@pytest.mark.parametrize(
    ("stubs", "words"),
    [
        ({"uname": MAC}, ["Darwin on arm64", "Linux on x86_64 only"]),
        ({"df": FULL}, ["17 MB are free", "needs 6000 MB"]),
        ({"getconf": BROKEN}, ["not glibc", "Debian, Ubuntu"]),
        ({}, ["no Python 3.10", "pyenv install 3.10", "install uv"]),
        ({"getconf": NEW_LIBC}, ["no Python 3.11, 3.12 or 3.13", "pyenv install 3.13"]),
        ({"python3.10": BROKEN}, ["no Python 3.10"]),
        ({"uv": OFFLINE_UV}, ["uv could not fetch Python 3.10"]),
        ({"uv": OFFLINE_UV, "getconf": NEW_LIBC}, ["uv could not fetch Python 3.13"]),
        ({"python3.10": python("3.10", venv=False)}, ["its module venv", "python3.10-venv"]),
        ({"python3.10": OLD_PYTHON, "c++": None}, ["C++ compiler", "install build-essential"]),
        (
            {
                "getconf": NEW_LIBC,
                "python3": python("3.13", headers=False, venv=False),
                "c++": None,
            },
            ["Python.h", "apt-get install build-essential python3.13-dev python3.13-venv"],
        ),
        ({"python3.10": OLD_PYTHON}, ["constraints.txt could not be installed", "network"]),
        ({"python3.10": OLD_PYTHON, "uv": OFFLINE_UV}, ["uv.lock could not be installed"]),
    ],
    ids=[
        *("mac", "disk", "libc", "python", "new python", "broken python", "uv offline"),
        *("uv offline, new", "venv", "compiler", "all", "pip offline", "packages"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(make_env, tmp_path, stubs, words):
    done = make_env(stubs)
    assert done.returncode == 2, done.stderr
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("error: ")
    for word in words:
        assert word in sentence
    installing = "could not be installed" in sentence
    assert (tmp_path / "venv").exists() == installing, "nothing half-made"


@pytest.mark.parametrize(
    ("stubs", "variables", "said"),
    [
        ({"python3.10": OLD_PYTHON}, {}, ["TFX 1.16 on Python 3.10", "2.39", "has 2.36"]),
        ({"python3.13": NEW_PYTHON, "python3.10": OLD_PYTHON}, {}, ["TFX 1.16 on Python 3.10"]),
        (
            {"getconf": NEW_LIBC, "python3": NEW_PYTHON, "python3.10": OLD_PYTHON},
            {},
            ["TFX 1.21 on Python 3.13", "glibc 2.41"],
        ),
        (
            {"getconf": NEW_LIBC, "python3.12": python("3.12"), "python3.11": python("3.11")},
            {},
            ["TFX 1.21 on Python 3.12"],
        ),
        (
            {"getconf": NEW_LIBC, "python3.10": OLD_PYTHON},
            {},
            ["TFX 1.16 on Python 3.10", "no Python 3.11 to 3.13"],
        ),
        (
            {
                "getconf": NEW_LIBC,
                "python3.10": OLD_PYTHON,
                "uv": UV_WITH_PYTHON,
                "fetched": NEW_PYTHON,
            },
            {},
            ["TFX 1.21 on Python 3.13"],
        ),
        (
            {"getconf": NEW_LIBC, "python3": NEW_PYTHON, "python3.10": OLD_PYTHON},
            {"TFX": "1.16"},
            ["TFX 1.16 on Python 3.10", "TFX=1.16"],
        ),
        (
            {"getconf": NEW_LIBC, "python3": NEW_PYTHON, "python3.10": OLD_PYTHON},
            {"PYTHON": "python3.10"},
            ["TFX 1.16 on Python 3.10", "PYTHON"],
        ),
    ],
    ids=["old", "old with 3.13", "new", "3.12", "only 3.10", "uv fetches", "forced", "PYTHON"],
)
def test_machine_chooses_the_tfx_and_it_is_said(make_env, stubs, variables, said):
    line = make_env(stubs, **variables).stdout.splitlines()[0]
    for words in said:
        assert words in line


@pytest.mark.parametrize(
    ("tfx", "words"),
    [("1.21", ["glibc 2.39", "has 2.36", "TFX=1.16"]), ("2.0", ["TFX is 2.0", "1.21 and 1.16"])],
)
def test_tfx_that_cannot_be_forced_here_is_refused(make_env, tfx, words):
    done = make_env({"python3.10": OLD_PYTHON, "python3.13": NEW_PYTHON}, TFX=tfx)
    assert done.returncode == 2
    (sentence,) = done.stderr.splitlines()
    for word in words:
        assert word in sentence


def test_environment_of_another_python_is_made_anew(make_env, tmp_path):
    folder = tmp_path / "venv" / "bin" / "python"
    folder.parent.mkdir(parents=True)
    folder.write_text(f"#!{BASH}\n{NEW_PYTHON}\n")
    folder.chmod(0o755)
    make_env({"python3.10": OLD_PYTHON})
    assert "echo 3.10" in folder.read_text()


def test_python_of_pyenv_is_found_though_its_shim_fails(make_env, tmp_path):
    interpreter = tmp_path / ".pyenv" / "versions" / "3.10.13" / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.write_text(f"#!{BASH}\n{OLD_PYTHON}\n")
    interpreter.chmod(0o755)
    done = make_env({"python3.10": BROKEN})
    assert "constraints.txt" in done.stderr, "it got as far as installing"


@pytest.fixture
def project(tmp_path):
    """The Makefile with empty files beside it, and a make_env that only counts its calls."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("setup.py", "pyproject.toml", "uv.lock", "constraints.txt"):
        (tmp_path / name).touch()
    (tmp_path / ".ci").mkdir()
    script = tmp_path / ".ci" / "make_env"
    script.write_text(
        'echo "made ${TFX:-}" >> calls; mkdir -p "$1"; echo "${TFX:-1.21}" > "$1/.tfx"\n'
        "[ ! -e fail ]\n"
    )
    return tmp_path


def make(project, *arguments):
    return subprocess.run(
        [MAKE, *arguments],
        cwd=project,
        env=OUTSIDE_MAKE,
        capture_output=True,
        text=True,
        timeout=60,
    )


def calls(project):
    return len((project / "calls").read_text().splitlines())


def test_make_env_works_once_and_again_when_the_lock_changes(project):
    assert make(project, "env").returncode == 0
    assert make(project, "env").returncode == 0
    assert calls(project) == 1
    stamp = (project / ".venv" / ".complete").stat()
    os.utime(project / "uv.lock", (stamp.st_atime + 10, stamp.st_mtime + 10))
    make(project, "env")
    assert calls(project) == 2


def test_make_env_with_another_tfx_makes_it_anew(project):
    for arguments, expected in (
        (["env"], 1),
        (["env", "TFX=1.21"], 1),
        (["env", "TFX=1.16"], 2),
        (["env", "TFX=1.16"], 2),
        (["env"], 2),
    ):
        assert make(project, *arguments).returncode == 0
        assert calls(project) == expected, arguments
    assert (project / "calls").read_text().splitlines() == ["made ", "made 1.16"]


def test_make_env_that_failed_is_tried_again(project):
    (project / "fail").touch()
    assert make(project, "env").returncode == 2
    (project / "fail").unlink()
    assert make(project, "env").returncode == 0
    assert calls(project) == 2


def test_make_without_a_target_explains_every_target(project):
    done = make(project, "help")
    lines = (project / "Makefile").read_text().splitlines()
    (targets,) = (line.split()[1:] for line in lines if line.startswith(".PHONY:"))
    assert [line.split()[0] for line in done.stdout.splitlines()] == targets
    assert {"env", "demo", "test"} < set(targets)
    default = subprocess.run(
        [MAKE], cwd=project, env=OUTSIDE_MAKE, capture_output=True, text=True, timeout=60
    )
    assert default.stdout == done.stdout
    assert not (project / "calls").exists()
