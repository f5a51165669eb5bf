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
# Python 3.10 as far as make_env asks; `-m venv` gives an environment with a copy of it.
PYTHON = """case "$*" in
  *"-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  *"-m pip"*) exit 1 ;;
  *sys.executable*) echo "$0" ;;
esac"""
WITHOUT_VENV = PYTHON.replace('mkdir -p "$3/bin" && cp "$0" "$3/bin/python"', "exit 1")
OTHER_PYTHON = "exit 1"
OFFLINE_UV = '[ "$1" = --version ]'


@pytest.fixture
def make_env(tmp_path):
    """Runs .ci/make_env for a folder of tmp_path with stubs in place of the machine's programs."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(shutil.which(tool))

    def make_env(**stubs):
        for name, body in {"uname": LINUX, "df": PLENTY, **stubs}.items():
            stub = programs / name.replace("python310", "python3.10")
            stub.write_text(f"#!{BASH}\n{body}\n")
            stub.chmod(0o755)
        return subprocess.run(
            [BASH, ROOT / ".ci" / "make_env", tmp_path / "venv"],
            env={"PATH": str(programs), "HOME": str(tmp_path)},
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
        ({}, ["no Python 3.10", "pyenv install 3.10", "install uv"]),
        ({"python310": OTHER_PYTHON}, ["no Python 3.10"]),
        ({"uv": OFFLINE_UV}, ["uv could not fetch Python 3.10"]),
        ({"python310": WITHOUT_VENV}, ["could not create an environment", "python3.10-venv"]),
        ({"python310": PYTHON}, ["constraints.txt could not be installed", "network"]),
        ({"python310": PYTHON, "uv": OFFLINE_UV}, ["uv.lock could not be installed", "network"]),
    ],
    ids=["mac", "disk", "python", "other python", "uv offline", "venv", "pip offline", "packages"],
)
def test_what_is_missing_is_said_in_one_sentence(make_env, stubs, words):
    done = make_env(**stubs)
    assert done.returncode == 2, done.stderr
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("error: ")
    for word in words:
        assert word in sentence


def test_environment_of_another_python_is_made_anew(make_env, tmp_path):
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!{BASH}\nexit 1\n")
    python.chmod(0o755)
    make_env(python310=PYTHON)
    assert "-m pip" in python.read_text()


def test_python_of_pyenv_is_found_though_its_shim_fails(make_env, tmp_path):
    python = tmp_path / ".pyenv" / "versions" / "3.10.13" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!{BASH}\n{PYTHON}\n")
    python.chmod(0o755)
    done = make_env(python310=OTHER_PYTHON)
    assert "constraints.txt" in done.stderr, "it got as far as installing"


@pytest.fixture
def project(tmp_path):
    """The Makefile with empty files beside it, and a make_env that only counts its calls."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("setup.py", "pyproject.toml", "uv.lock", "constraints.txt"):
        (tmp_path / name).touch()
    (tmp_path / ".ci").mkdir()
    script = tmp_path / ".ci" / "make_env"
    script.write_text('echo made >> calls; mkdir -p "$1"; [ ! -e fail ]\n')
    return tmp_path


def make(project, target):
    return subprocess.run(
        [MAKE, target], cwd=project, env=OUTSIDE_MAKE, capture_output=True, text=True, timeout=60
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
