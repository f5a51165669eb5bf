"""The framework of all commands: parsing, errors, exit statuses and help.

Commands are functions whose parameters typer turns into options. Typer's boxes, colours, tracebacks
and shell completion stay off: what a command prints is read by programs and logs as well.
"""

from __future__ import annotations

import functools
import inspect
import io
import os
import re
import select
import sys
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from preprocessing.support.errors import UsageError
from preprocessing.support.nearest import nearest

WRONG_USAGE = 2
INTERRUPTED = 130
# What a shell reports of a program that SIGPIPE ended.
CLOSED_PIPE = 141

_NAMES_OF_HELP = {"help_option_names": ["-h", "--help"]}
_OTHER_OPTIONS = "options"
# Of a docstring: what follows is for those who call the function.
_SECTIONS = re.compile(r"^(?:Args|Returns|Raises):$", re.MULTILINE)
_SEE_HELP = "; see --help"
# By the types of pydantic's errors.
_KINDS = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
}
_Options = TypeVar("_Options")


class Command(TyperCommand):
    """A command whose help shows its options in groups, those of `rich_help_panel`."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """`[OPTIONS]` and the names of the arguments."""
        pieces = ["[OPTIONS]"]
        for parameter in self.params:
            if isinstance(parameter, TyperArgument):
                name = parameter.display_name_raw
                pieces += [f"{name}..."] if parameter.nargs == -1 else [name] * parameter.nargs
        return pieces

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes the arguments, then the options of each group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            row: tuple[str, str] | None
            if isinstance(parameter, TyperArgument):
                row, group = (parameter.display_name_raw, parameter.help or ""), "arguments"
            else:
                row = parameter.get_help_record(ctx)
                group = getattr(parameter, "rich_help_panel", None) or _OTHER_OPTIONS
            if row is not None:
                groups.setdefault(group, []).append(row)
        # --help comes last, wherever the first ungrouped option stands.
        others = groups.pop(_OTHER_OPTIONS, [])
        for title, rows in [*groups.items(), (_OTHER_OPTIONS, others)]:
            with formatter.section(title[:1].upper() + title[1:]):
                formatter.write_dl(rows)


class CommandGroup(TyperGroup):
    """A program with several commands; a name that is none of them is answered by the nearest."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuses (UsageError) a call without a command."""
        if not args:
            raise UsageError(f"no command is given; commands are {', '.join(self.commands)}")
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command of a name; see `click.Group.resolve_command`.

        Raises:
          UsageError: there is no command of that name.
        """
        name = args[0]
        if name in self.commands:
            return super().resolve_command(ctx, args)
        commands = f"; commands are {', '.join(self.commands)}"
        raise UsageError(f"there is no command {name!r}{nearest(name, self.commands) or commands}")


def program(**settings: Any) -> typer.Typer:
    """A program to add commands to.

    Args:
      **settings: of `typer.Typer`.
    """
    app = typer.Typer(
        cls=CommandGroup,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings=_NAMES_OF_HELP,
        subcommand_metavar="COMMAND ...",
        options_metavar="[OPTIONS]",
        **settings,
    )
    # With a callback, a program of one command is a program of commands all the same.
    app.callback()(lambda: None)
    return app


def add_command(app: typer.Typer, name: str, function: Callable[..., int]) -> None:
    """Adds a command.

    Args:
      app: of `program`.
      name: of the command.
      function: what it does; returns the exit status. The first sentence of its docstring stands in
        the list of commands, the whole up to `Returns` and `Raises` in the command's help.
    """
    text = _SECTIONS.split(inspect.getdoc(function) or "")[0].rstrip()
    first = " ".join(text.partition("\n\n")[0].split()).rstrip(".")
    register = app.command(
        name, cls=Command, help=text, short_help=first, context_settings=_NAMES_OF_HELP
    )
    register(function)


def single(function: Callable[..., int]) -> typer.Typer:
    """A program that is one command.

    Args:
      function: as of `add_command`.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    add_command(app, "", function)
    return app


def from_options(options: type[_Options]) -> Callable[[Callable[[_Options], int]], Any]:
    """Turns a function of a dataclass into one of its fields, whose parameters typer can read.

    For commands with more options than a function should have parameters.

    Args:
      options: dataclass whose fields are annotated for typer, as parameters of a function would be.

    Returns:
      The decorator.
    """
    hints = typing.get_type_hints(options, include_extras=True)
    signature = inspect.signature(options)
    parameters = [
        parameter.replace(annotation=hints[name])
        for name, parameter in signature.parameters.items()
    ]

    def decorate(function: Callable[[_Options], int]) -> Callable[..., int]:
        @functools.wraps(function)
        def command(**values: Any) -> int:
            return function(options(**values))

        command.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=parameters, return_annotation=int
        )
        command.__annotations__ = {**hints, "return": int}
        return command

    return decorate


def call(app: typer.Typer, name: str, argv: Sequence[str] | None = None) -> int:
    """Runs a program.

    Wrong usage is one sentence on standard error; a closed standard output ends quietly; file names
    that standard output cannot encode are escaped.

    Args:
      app: of `program`.
      name: of the program, as its help shows it.
      argv: arguments; those of the process by default.

    Returns:
      The exit status: the command's own, 2 for wrong usage, 130 when interrupted, 141 when the
      reader of standard output is gone.
    """
    for stream in (sys.stdout, sys.stderr):
        # File names hold what a terminal's encoding may not; that must not end a command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _status(app, name, arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _stdout_is_closed():
            raise
        return CLOSED_PIPE


def _status(app: typer.Typer, name: str, arguments: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        # Not command.main(): it turns a closed pipe and an interruption into statuses of its own.
        with command.make_context(name, arguments) as context:
            return command.invoke(context) or 0
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USAGE
    except typer.TyperException as error:
        print(f"error: {_sentence(error)}", file=sys.stderr)
        return WRONG_USAGE
    except ModuleNotFoundError as error:
        from preprocessing.support.versions import has_pipeline, image_name

        if has_pipeline():
            raise
        print(
            f"error: this needs the package {error.name}, which is not installed here: the extra "
            f"`pipeline` brings it (`make env`, or the image {image_name()})",
            file=sys.stderr,
        )
        return WRONG_USAGE
    except typer.Exit as end:  # --help
        return end.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _sentence(error: typer.TyperException) -> str:
    """What is wrong with the arguments: which one, its value, and what it should have been."""
    context = getattr(error, "ctx", None)
    if hasattr(error, "possibilities") and context:
        option_name = str(getattr(error, "option_name", ""))
        options = [option for parameter in context.command.params for option in parameter.opts]
        suggestion = nearest(option_name, [option for option in options if option.startswith("-")])
        return f"`{context.command_path}` has no option {option_name!r}{suggestion or _SEE_HELP}"
    parameter, reasons = getattr(error, "param", None), getattr(error.__cause__, "errors", None)
    if parameter and reasons:
        return f"{parameter.get_error_hint()[1:-1]}: {_reason(reasons()[0])}"
    message = error.format_message().rstrip(".")
    return f"{message[:1].lower()}{message[1:]}{_SEE_HELP}"


def _reason(error: Any) -> str:
    """Why pydantic refuses a value; see `pydantic_core.ErrorDetails`."""
    value = repr(error["input"])
    if error["type"] in _KINDS:
        return f"{value} is not {_KINDS[error['type']]}"
    message = error["msg"].removeprefix("Value error, ").rstrip(".")
    return message if value in message else f"{value}: {message}"


def _stdout_is_closed() -> bool:
    """Whether the reader of standard output is gone; what is left for it is thrown away then."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    # The interpreter flushes once more at its end, and would complain.
    with Path(os.devnull).open("wb") as null:
        os.dup2(null.fileno(), sys.stdout.fileno())
    return True
