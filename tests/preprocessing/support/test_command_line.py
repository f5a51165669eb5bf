"""How a program is parsed and how it ends, whatever its commands do."""

import dataclasses
from typing import Annotated

import pytest
import typer

from preprocessing.support import versions
from preprocessing.support.command_line import (
    add_command,
    call,
    from_options,
    program,
    single,
)
from preprocessing.support.errors import UsageError
from preprocessing.support.nearest import nearest


@dataclasses.dataclass(frozen=True)
class Options:
    """Two options."""

    name: Annotated[str, typer.Option(rich_help_panel="what is named", help="A name.")]
    times: Annotated[int, typer.Option(metavar="N", help="How often.")] = 1


@from_options(Options)
def say(options: Options) -> int:
    """Say a name.

    So often that it is heard.

    Raises:
      OSError: nobody listens.
    """
    print(*[options.name] * options.times)
    return 4


def ends_with(error: BaseException | None) -> typer.Typer:
    def end() -> int:
        """End."""
        if error:
            raise error
        return 0

    return single(end)


def test_fields_of_a_dataclass_are_options(capsys):
    app = program()
    add_command(app, "say", say)
    assert call(app, "test", ["say", "--name=x", "--times", "2"]) == 4
    assert capsys.readouterr().out == "x x\n"
    # Before and after another option, and below zero.
    assert call(app, "test", ["say", "--times", "-1", "--name", "--times"]) == 4


def test_help_shows_groups_and_the_first_sentence_stands_in_the_list(capsys):
    app = program(help="A test.")
    add_command(app, "say", say)
    add_command(app, "other", say)
    assert call(app, "test", ["--help"]) == 0
    assert "  say    Say a name\n" in capsys.readouterr().out
    assert call(app, "test", ["say", "-h"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Usage: test say [OPTIONS]\n\n  Say a name.\n\n  So often")
    assert "Raises" not in shown
    assert "OSError" not in shown
    assert shown.index("What is named:\n  --name") < shown.index("Options:\n  --times N")


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (None, 0, ""),
        (UsageError("no file"), 2, "error: no file\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_ends(error, status, said, capsys):
    assert call(ends_with(error), "test", []) == status
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("error", [ValueError("ours"), BrokenPipeError(), EOFError()])
def test_faults_of_a_command_are_not_hidden(error):
    with pytest.raises(type(error)):
        call(ends_with(error), "test", [])


def test_arguments_are_those_of_the_process_by_default(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["test", "--name", "no\udcff"])
    assert call(single(say), "test") == 4
    monkeypatch.setattr("sys.argv", ["test", "--name", "x", "--times", "1.5"])
    assert call(single(say), "test") == 2
    assert "--times: '1.5' is not a whole number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("--mode", "--model"),
        ("--modle", "--model"),
        ("--out", "--output"),
        ("--over", ""),
        ("-m", ""),
        ("--x", ""),
    ],
)
def test_nearest(name, words):
    said = nearest(name, ["--model", "--output"])
    assert said == (f"; did you mean {words!r}?" if words else "")


def test_package_of_the_extra_that_is_not_installed_is_named(monkeypatch, capsys):
    app = ends_with(ModuleNotFoundError("No module named 'tfx'", name="tfx"))
    with pytest.raises(ModuleNotFoundError):
        call(app, "test", [])
    monkeypatch.setattr(versions, "has_pipeline", lambda: False)
    assert call(app, "test", []) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("error: this needs the package tfx, which is not installed here")
    assert versions.image_name() in sentence
