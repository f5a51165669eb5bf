"""The `deepfake` command. It imports nothing heavy before a command needs it."""

from __future__ import annotations

import argparse
import io
import os
import select
import sys
from collections.abc import Sequence

from preprocessing.choices import DIFFICULTIES
from preprocessing.errors import UsageError
from preprocessing.verdict import FALSE_ALARMS

WRONG_USAGE = 2
_ACCOUNT = (
    "Hidden files are not looked at. Exit status: 0 everything that was given {}, 4 something was "
    "not (documents such as .txt and .csv do not count), which the output says with the reason, "
    "2 wrong usage or data, 1 failure."
)
# What a shell reports of a program that SIGPIPE ended.
CLOSED_PIPE = 141
_ALL_FACES = (
    "judge every face that is found; else tracks that are much shorter than their shot, and faces "
    "much smaller than its largest, are left out and counted"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        # File names hold what a terminal's encoding may not; that must not end a command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            return _command(argv)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _stdout_is_closed():
            raise
        return CLOSED_PIPE


def _command(argv: Sequence[str] | None) -> int:
    try:
        arguments = _parser().parse_args(argv)
        return arguments.command(arguments)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _stdout_is_closed() -> bool:
    """Whether the reader of standard output is gone; what is left for it is thrown away then."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    # The interpreter flushes once more at its end, and would complain.
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), sys.stdout.fileno())
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepfake", description="Train, gate, push and ask a deepfake detector."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    command = commands.add_parser(
        "run",
        help="from videos to a gated, pushed model",
        description="Runs the whole pipeline here. Exit status: 0 pushed, 3 refused by the gate "
        "or the serving check, 2 wrong usage, data or configuration, 1 failure.",
    )
    _add_config_arguments(command)
    command.set_defaults(command=_run)

    command = commands.add_parser(
        "index",
        help="list a dataset: what is in it and how it is divided",
        description="Recognises the layout of a folder, divides its clips into splits, prints a "
        "table with the leaks, and writes the manifest when asked.",
    )
    command.add_argument("data", metavar="DIR", help="folder of the dataset")
    command.add_argument("--manifest", metavar="FILE", help="write the manifest (CSV) there")
    _add_config_arguments(command, data=False)
    command.set_defaults(command=_index)

    command = commands.add_parser(
        "extract",
        help="cut the faces out of a dataset",
        description="Divides a dataset, cuts the faces out of its clips and writes TFRecords by "
        "split, a report and a contact sheet. Started again, it goes on where it stopped. "
        f"{_ACCOUNT.format('gave faces')}",
    )
    _add_config_arguments(command)
    command.set_defaults(command=_extract)

    command = commands.add_parser(
        "augment-preview",
        help="show what the training's augmentation does to face crops",
        description="Writes a contact sheet: each row a face crop, each column a draw of the "
        "augmentation, with pairs and pseudo-fakes as training would see them.",
    )
    _add_config_arguments(command, data=False)
    command.add_argument(
        "--data",
        metavar="DIR",
        help="face crops: pictures (in folders real and fake), what `deepfake extract` wrote, or "
        "the output of a run (default: the preset's)",
    )
    command.add_argument("--output", metavar="FILE", required=True, help="the .png file to write")
    command.add_argument(
        "--strength",
        action="append",
        default=[],
        metavar="NAME",
        help="show this strength instead of the configured one; may be repeated; all shows all",
    )
    command.add_argument("--rows", type=int, default=4, help="crops (default: 4)")
    command.add_argument("--draws", type=int, default=6, help="draws of each (default: 6)")
    command.set_defaults(command=_augment_preview)

    command = commands.add_parser(
        "predict",
        help="P(fake) of videos and pictures, and a verdict",
        description="Cuts the faces out of each file as in training and prints P(fake) per file "
        "and a verdict by two thresholds that the model's validation clips chose: fake above both "
        "(few false alarms, and errors of both kinds balanced), real above neither, uncertain "
        "between. A verdict holds for data like the training's; what it is worth on yours, "
        "`deepfake evaluate` measures. Exit status: 0 every file has a score, 1 one has none.",
    )
    command.add_argument(
        "--false-alarms",
        type=float,
        default=FALSE_ALARMS,
        metavar="SHARE",
        help="share of real clips that may be called fake: 0.1, 0.05, 0.01 or 0.001 "
        "(default: %(default)s)",
    )
    command.add_argument("files", nargs="+", metavar="FILE", help="videos or pictures")
    command.add_argument(
        "--model", required=True, metavar="DIR", help="a model version, or the folder of versions"
    )
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")
    command.add_argument(
        "--all-faces",
        action="store_true",
        help=_ALL_FACES,
    )
    command.set_defaults(command=_predict)

    _add_evaluation_commands(commands)

    command = commands.add_parser(
        "demo-data",
        help="make the demo's dataset",
        description="Makes a small dataset in the layout of Celeb-DF v2, without a download.",
    )
    command.add_argument("data", metavar="DIR", help="folder to make")
    command.add_argument("--seed", type=int, help="another draw of the same kind")
    command.add_argument(
        "--difficulty",
        choices=DIFFICULTIES,
        help="easy: most fakes are blurrier than what surrounds them; hard: none of that",
    )
    command.set_defaults(command=_demo_data)

    from serving.server.main import add_arguments

    command = commands.add_parser(
        "serve",
        help="answer TensorFlow Serving's clients (development, tests, small installations)",
    )
    add_arguments(command)
    command.set_defaults(command=_serve)

    from serving.gateway.main import add_arguments as add_gateway_arguments

    command = commands.add_parser(
        "gateway",
        help="answer pictures and videos with verdicts over HTTP, and show a page to drop them on",
        description="Cuts the faces out of each file that is sent, as the served version of the "
        "model wants them, has TensorFlow Serving or `deepfake serve` score them, and answers as "
        "`deepfake predict` does: POST the file to /v1/verdict, or open / in a browser.",
    )
    add_gateway_arguments(command)
    command.set_defaults(command=_gateway)

    command = commands.add_parser(
        "doctor", help="check this machine: versions, imports, disk, memory, GPU, Docker, Java"
    )
    command.set_defaults(command=_doctor)
    return parser


def _add_evaluation_commands(commands) -> None:
    for name, text, output, account in (
        (
            "evaluate",
            "measure a finished model on a labelled dataset",
            "folder of the report",
            _ACCOUNT.format("was measured"),
        ),
        (
            "score",
            "write P(fake) of all videos and pictures below a folder into a table, in which every "
            "other file has a row with the reason",
            "the .parquet file",
            _ACCOUNT.format("has a score"),
        ),
    ):
        command = commands.add_parser(
            name,
            help=text,
            description=f"Will {text}. An interrupted run goes on where it stopped. {account}",
        )
        command.add_argument("--model", required=True, metavar="DIR", help="a pushed model")
        command.add_argument("--data", required=True, metavar="DIR", help="folder of the clips")
        command.add_argument("--output", metavar="PATH", required=name == "score", help=output)
        command.add_argument(
            "--precropped", action="store_true", help="the files are face crops already"
        )
        command.add_argument("--workers", type=int, default=1, help="Beam worker processes")
        command.add_argument("--all-faces", action="store_true", help=_ALL_FACES)
        command.set_defaults(command=_on_data, task=name, official_test=False)
        if name == "evaluate":
            command.add_argument(
                "--official-test",
                action="store_true",
                help="only the clips of the dataset's own test list",
            )

    command = commands.add_parser("report", help="show the report of a run")
    command.add_argument("run", metavar="RUN", help="--output of a run, or of an evaluation")
    command.add_argument("--rebuild", action="store_true", help="draw it again")
    command.set_defaults(command=_report)

    command = commands.add_parser("compare", help="two runs on the clips that both have tested")
    command.add_argument("runs", nargs=2, metavar="RUN", help="--output of a run")
    command.add_argument("--output", metavar="FILE", help="write a page (HTML) as well")
    command.set_defaults(command=_compare)


def _add_config_arguments(command: argparse.ArgumentParser, data: bool = True) -> None:
    command.add_argument(
        "--preset", default="folder", help="name of a preset, or a YAML file (default: folder)"
    )
    if data:
        command.add_argument("--data", metavar="DIR", help="folder of the dataset")
        command.add_argument("--output", metavar="DIR", help="folder of all that the run writes")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change one value of the configuration, as in training.epochs=5; may be repeated",
    )


def _config(arguments: argparse.Namespace, data: str | None, output: str | None):
    from pipeline.config import load_config, override_of

    overrides = list(arguments.overrides)
    if data:
        overrides.append(override_of("data.dir", data))
    if output:
        overrides.append(override_of("output", output))
    return load_config(arguments.preset, overrides)


def _run(arguments: argparse.Namespace) -> int:
    from pipeline.run import run

    return run(_config(arguments, arguments.data, arguments.output))


def _config_of_any_layout(arguments: argparse.Namespace, output: str | None):
    """The configuration of commands for which a preset need not be named: any layout will do."""
    config = _config(arguments, arguments.data, output)
    if arguments.preset != "folder":
        return config
    return config.replace(data=config.data.replace(layout="auto"))


def _extract(arguments: argparse.Namespace) -> int:
    from pipeline.console import Console
    from pipeline.inputs import INCOMPLETE, index, make_output
    from preprocessing.manifest import left_out

    config = _config_of_any_layout(arguments, arguments.output)
    output = make_output(config.output)
    manifest = index(config)
    with Console(output / "logs" / "extract.log") as console:
        from preprocessing.extract_command import extract

        settings = config.extraction.crop_settings(config.data.precropped)
        workers = config.extraction.workers
        summary = extract(manifest, settings, output / "faces", workers=workers, say=console.say)
    missing = left_out(manifest.root, manifest.clips, manifest.problems)
    return INCOMPLETE if missing or summary["clips_reported"] else 0


def _augment_preview(arguments: argparse.Namespace) -> int:
    from components.trainer.config import AUGMENTATIONS
    from preprocessing.quiet import quiet

    config = _config(arguments, None, None)
    data = arguments.data or config.output
    if not data:
        raise UsageError("no face crops are named: give --data DIR, or set output")
    strengths = AUGMENTATIONS if "all" in arguments.strength else arguments.strength
    with quiet():
        from components.trainer.augment_preview import write_preview

        wrote = write_preview(
            config, data, arguments.output, strengths, arguments.rows, arguments.draws
        )
    print(wrote)
    return 0


def _index(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from pipeline.inputs import index
    from preprocessing.manifest import check_trainable

    manifest = index(_config_of_any_layout(arguments, None))
    print(manifest.table())
    if arguments.manifest:
        manifest.write_csv(Path(arguments.manifest))
        print(f"wrote {len(manifest.clips)} rows to {arguments.manifest}")
    for warning in check_trainable(manifest):
        print(f"warning: {warning}")
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    from serving.predict import predict_command

    return predict_command(
        arguments.files,
        arguments.model,
        arguments.json,
        arguments.false_alarms,
        arguments.all_faces,
    )


def _on_data(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from pipeline import evaluate

    output = arguments.output or f"evaluation-{Path(arguments.data).resolve().name}"
    request = evaluate.Request(
        model=arguments.model,
        data=arguments.data,
        output=output,
        precropped=arguments.precropped,
        official_test=arguments.official_test,
        workers=arguments.workers,
        all_faces=arguments.all_faces,
    )
    return getattr(evaluate, arguments.task)(request)


def _report(arguments: argparse.Namespace) -> int:
    import os
    import webbrowser

    from preprocessing.quiet import quiet

    with quiet():
        from components.report.compare import page_of

        page = page_of(arguments.run, again=arguments.rebuild)
    print(page)
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(page.resolve().as_uri())
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from components.report.compare import compare_runs, write_page

    comparison = compare_runs(*arguments.runs)
    print(comparison.text())
    if arguments.output:
        write_page(comparison, arguments.output)
        print(f"wrote {arguments.output}")
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    from serving.server.main import run

    return run(arguments)


def _gateway(arguments: argparse.Namespace) -> int:
    from serving.gateway.main import run

    return run(arguments)


def _demo_data(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from pipeline.config import load_config
    from preprocessing.datasets.demo import make_demo_data

    changes = []
    for key in ("seed", "difficulty"):
        if getattr(arguments, key) is not None:
            changes.append(f"data.demo.{key}={getattr(arguments, key)}")
    make_demo_data(Path(arguments.data), load_config("demo", changes).data.demo)
    print(f"the demo's dataset is in {arguments.data}; its README.txt says what it is")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from pipeline.doctor import doctor

    return doctor()
