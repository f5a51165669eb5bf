"""The commands of docs/kubeflow.md and docs/vertex.md, with data in place of the reader's."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from compiled_pipeline import make_volume

from pipeline.cli import main
from preprocessing.support.versions import image_name

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PAGES = {"kubeflow": "/mnt/deepfake", "vertex": "/mnt/bucket"}


def blocks(page, language):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for name, block in found if name == language]


def commands(page, program):
    lines = [line for block in blocks(page, "") for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith(program)]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_accepted(page, tmp_path, monkeypatch, capsys):
    mount, here = PAGES[page], tmp_path / "mount"
    make_volume(here)
    (configuration,) = (yaml.safe_load(block) for block in blocks(page, "yaml"))
    configuration["kubeflow"]["local_mount"] = str(here)
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(configuration))
    (tmp_path / "token").write_text("secret")
    monkeypatch.chdir(tmp_path)
    found = commands(page, ".venv/bin/deepfake")
    assert [words[0] for words in found] == ["submit", "submit", "compile"]
    for words in found:
        words = [word.replace(mount, str(here)) for word in words]
        dry = ["--dry-run"] if words[0] == "submit" and "--dry-run" not in words else []
        assert main([*words, *dry]) == 0, capsys.readouterr().err
    assert len([*tmp_path.glob("pipeline.*")]) == 1


@pytest.mark.parametrize("page", PAGES)
def test_named_files_and_images_exist(page):
    for words in commands(page, "kubectl"):
        files = [words[place + 1] for place, word in enumerate(words) if word == "-f"]
        assert all((ROOT / file).is_file() for file in files)
    (configuration,) = (yaml.safe_load(block) for block in blocks(page, "yaml"))
    assert commands(page, "make") == [["images"]]
    tagged, pushed = commands(page, "docker")
    assert tagged[1] == image_name(), "that is what it builds"
    assert tagged[2] == pushed[1] == configuration["kubeflow"]["image"]
