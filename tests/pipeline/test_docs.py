"""What README and docs name exists: files, links, commands and their options."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from pipeline.cli import deepfake

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
# Folders of the project; what stands elsewhere, as in the output of a run, is not looked for.
PATH = re.compile(
    r"(?:pipeline|components|serving|preprocessing|tests|benchmarks|docs|\.ci)/[\w./-]+"
)


def texts(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_and_links_exist(page):
    content = page.read_text(encoding="utf-8")
    missing = []
    for text in texts(page):
        for name in PATH.findall(text):
            path = name.rstrip("./").partition(":")[0]
            if "NAME" not in name and "NODE" not in name and not (ROOT / path).exists():
                missing.append(name)
    for link in re.findall(r"\]\(([^)#]+)\)", content):
        if "://" not in link and not (page.parent / link).exists():
            missing.append(link)
    assert missing == []


def commands(page: Path) -> list[list[str]]:
    """The words of each `deepfake` command in a page's code blocks and inline code."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()] + texts(page)
    found = []
    for line in lines:
        match = re.match(r"(?:\.venv/bin/)?deepfake ([a-z][a-z-]*.*)", line.partition(" #")[0])
        if match:
            found.append(shlex.split(match[1].replace("...", "")))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_commands_have_these_options(page):
    app = typer.main.get_command(deepfake())
    for words in commands(page):
        assert words[0] in app.commands, words
        known = {option for p in app.commands[words[0]].params for option in p.opts}
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert options <= {*known, "--help"}, words


def test_the_readme_has_commands():
    assert len(commands(ROOT / "README.md")) > 10
