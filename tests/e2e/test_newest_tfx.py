"""TFX 1.21 on a machine whose glibc is too old for it: in a root folder of Debian 13.

The folder is made once, by `.ci/debian13`, and kept in the user's cache, or where
DEEPFAKE_DEBIAN13 says. On a machine with a newer glibc `make test` itself runs with TFX 1.21.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.workspace import SMALL

from preprocessing.support.versions import supported_tfx
from serving.model import card

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(5400)]

ROOT = Path(__file__).parents[2]
DEEPFAKE = str(Path(sys.executable).parent / "deepfake")
UNIT = "not slow and not integration"
CLIPS = 6


class Newest:
    """A clone of this repository in a root folder of Debian 13.

    Attributes:
      root: the root folder.
      clone: the clone, as this machine sees it.
    """

    def __init__(self, root: Path):
        self.root = root
        self.clone = root / "root" / f"clone-{os.getpid()}"

    def run(self, *command: str, timeout: float = 3600) -> str:
        """Runs a command in the clone; returns what it printed.

        Raises:
          AssertionError: it did not end with status 0.
        """
        done = subprocess.run(
            [
                *("bash", ROOT / ".ci" / "debian13", self.root),
                *("env", "-C", f"/root/{self.clone.name}", *command),
            ],
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-6000:]}{done.stderr[-6000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def newest():
    """The environment of TFX 1.21, made by `make env` in a fresh clone."""
    if supported_tfx() == "1.21":
        pytest.skip("this environment is TFX 1.21 already")
    if os.geteuid() != 0:
        pytest.skip("only root can make and enter a root folder")
    if not shutil.which("debootstrap"):
        pytest.skip("there is no debootstrap: apt-get install debootstrap")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = os.environ.get("DEEPFAKE_DEBIAN13") or cache / "deepfake-detection" / "debian13"
    newest = Newest(Path(place))
    subprocess.run(["bash", ROOT / ".ci" / "debian13", newest.root, "true"], check=True)
    try:
        subprocess.run(["git", "clone", "--quiet", ROOT, newest.clone], check=True)
        said = newest.run("make", "env")
        assert re.search(r"^TFX 1\.21 on Python 3\.13: ", said, re.M), said
        yield newest
    finally:
        shutil.rmtree(newest.clone, ignore_errors=True)


def test_unit_tests_pass_and_are_as_many(newest):
    collecting = subprocess.Popen(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", UNIT],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        # One process, as this test is one among others.
        said = newest.run("make", "test-unit", "WORKERS=1")
        listed = collecting.communicate(timeout=300)[0]
    finally:
        collecting.kill()
    (last,) = re.findall(r"^=+ (.*\bpassed\b.*) =+$", said, re.M)
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", last)}
    assert not {"failed", "error", "errors"} & set(counts), last
    collected = re.search(r"^(\d+)(?:/\d+)? tests collected", listed, re.M)
    assert collected, listed[-3000:]
    assert counts["passed"] + counts.get("skipped", 0) == int(collected[1]), last
    for reason in re.findall(r"^SKIPPED.*", said, re.M):
        assert not re.search(r"TFX|Python|version", reason), reason


@pytest.fixture(scope="module")
def models(newest, tmp_path_factory) -> dict[str, Path]:
    """The models that the two environments pushed from their own runs of the demo, by TFX."""
    here = tmp_path_factory.mktemp("oldest")
    arguments = ["run", "--preset", "demo"]
    for override in SMALL:
        arguments += ["--set", override]
    with (here / "log").open("wb") as log:
        other = subprocess.Popen(
            [DEEPFAKE, *arguments, "--output", here / "run"], stdout=log, stderr=log
        )
    try:
        said = newest.run(".venv/bin/deepfake", *arguments, "--output", "run")
        assert "pushed " in said
        assert other.wait(600) == 0, (here / "log").read_text()[-6000:]
    finally:
        other.kill()
        other.wait()
    # Both must see both.
    shared = newest.clone / "models"
    for tfx, run in (("1.16", here / "run"), ("1.21", newest.clone / "run")):
        metadata = card.read(run / "models" / "demo")
        assert metadata.libraries["tensorflow-transform"].startswith(tfx)
        shutil.copytree(run / "models" / "demo", shared / tfx)
    return {tfx: shared / tfx for tfx in ("1.16", "1.21")}


@pytest.mark.parametrize("made_by", ["1.16", "1.21"])
def test_a_model_of_either_scores_alike_in_both(newest, models, made_by):
    clips = sorted((newest.clone / "run" / "demo-data").rglob("*.mp4"))[:CLIPS]
    assert len(clips) == CLIPS
    files = [str(clip.relative_to(newest.clone)) for clip in clips]
    base = str(models[made_by].relative_to(newest.clone))
    script = str(ROOT / "tests" / "e2e" / "both_scores.py")
    old = subprocess.run(
        [sys.executable, script, base, *files],
        cwd=newest.clone,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert old.returncode == 0, old.stderr[-6000:]
    new = newest.run(
        *("env", "PYTHONPATH=.", ".venv/bin/python", "tests/e2e/both_scores.py", base, *files)
    )
    _compare(json.loads(old.stdout), json.loads(new))


def _compare(old: dict[str, dict], new: dict[str, dict]) -> None:
    assert set(old) == set(new)
    assert len(old) == CLIPS
    assert any(answer["score"] is not None for answer in old.values())
    for file, answer in old.items():
        for kind in ("score", "logits", "served"):
            assert new[file][kind] == pytest.approx(answer[kind], abs=1e-4), (file, kind)
        assert answer["served"] == pytest.approx(answer["logits"], abs=1e-4), file
