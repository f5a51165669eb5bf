"""`deepfake predict`."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands._options import AllFaces, FalsePositiveRate, MissRate, Model, Precropped
from preprocessing.support.command_line import from_options
from preprocessing.support.errors import UsageError
from preprocessing.support.files import refuse_bucket
from serving.model.starter import named_or_starter

if TYPE_CHECKING:
    from pipeline.prediction.output import Output
    from pipeline.prediction.saving import Saver
    from serving.model.predictor import FilePredictor

_PRINT, _SERVER = "what is printed", "a running server, instead of loading the model"


@dataclasses.dataclass(frozen=True)
class PredictArguments:
    """The arguments of `deepfake predict`; each field has its help."""

    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="Videos, pictures, folders of them, or quoted patterns such as 'in/**/*.mp4'; - "
            "reads names from standard input, each ended by NUL or a newline.",
        ),
    ]
    model: Model = None
    precropped: Precropped = False
    false_positive_rate: FalsePositiveRate = None
    miss_rate: MissRate = None
    all_faces: AllFaces = False
    as_json: Annotated[
        bool, typer.Option("--json", rich_help_panel=_PRINT, help="A list of answers in JSON.")
    ] = False
    as_jsonl: Annotated[
        bool,
        typer.Option(
            "--jsonl",
            rich_help_panel=_PRINT,
            help="A line of JSON for each file, as soon as it is answered.",
        ),
    ] = False
    as_csv: Annotated[
        bool, typer.Option("--csv", rich_help_panel=_PRINT, help="A row for each file, likewise.")
    ] = False
    save: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Write a folder for each file: the file with its faces marked, the faces, the "
            "scores over time, and the answer in JSON.",
        ),
    ] = None
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            rich_help_panel=_SERVER,
            help="grpc://HOST:PORT or http://HOST:PORT of TensorFlow Serving or `deepfake serve` "
            "(grpcs and https with TLS); --model names the folder that it serves then, of which "
            "the card is read.",
        ),
    ] = None
    server_model: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel=_SERVER,
            help="The model's name on that server.",
            show_default="the folder's",
        ),
    ] = ""
    server_token_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", rich_help_panel=_SERVER, help="Bearer token for that server."),
    ] = None
    server_ca: Annotated[
        str,
        typer.Option(metavar="FILE", rich_help_panel=_SERVER, help="That signed its certificate."),
    ] = ""


@from_options(PredictArguments)
def predict(arguments: PredictArguments) -> int:
    """P(fake) of videos and pictures, and a verdict.

    Cuts the faces out of each file as in training and prints P(fake) per file and a verdict:
    fake where the model's validation clips rule out that it is real, at the false positive rate;
    real where they rule out that it is fake, at the miss rate; else uncertain; and unfamiliar where
    it is unlike them. So a model with few validation clips says uncertain. A verdict holds for data
    like the validation's; what it is worth on yours, `deepfake evaluate` measures.

    Where no model is named, the starter answers; standard error then says what it is. A file that
    cannot be answered has its reason and does not stop the others.

    Exit status: 0 every file has a score, 4 one has none (documents such as .txt in a folder do
    not count), 2 wrong usage, as where no name is that of a file, 1 the model or the server failed.
    """
    formats = {
        "--json": arguments.as_json,
        "--jsonl": arguments.as_jsonl,
        "--csv": arguments.as_csv,
    }
    if len(wanted := [option for option, given in formats.items() if given]) > 1:
        raise UsageError(f"give one of {' and '.join(wanted)}")
    if arguments.server_model and not arguments.server:
        raise UsageError("--server-model names a model on a server; give --server URL as well")
    if arguments.server:
        from serving.clients.connection import check_address
        from serving.http.arguments import check_files

        check_address(arguments.server)
        check_files((arguments.server_ca,))
    from pipeline.inputs import make_output
    from pipeline.prediction.inputs import items_of

    made = Path(arguments.save) if arguments.save else None
    items = items_of(arguments.files, lambda: sys.stdin.buffer.read(), made)
    refuse_bucket(arguments.save or "", option="--save")
    folder = make_output(arguments.save, "--save") if arguments.save else None
    model = named_or_starter(arguments.model)

    from pipeline.prediction.run import FAILED, predict_items
    from preprocessing.support.quiet import quiet
    from serving.model.outputs import NoOutputs

    try:
        with quiet():
            predictor = _predictor(arguments, model)
    except NoOutputs as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    try:
        with contextlib.ExitStack() as stack:
            saver = stack.enter_context(_saver(folder, predictor)) if folder else None
            return predict_items(predictor, items, _output(wanted, predictor), saver)
    finally:
        with quiet():
            predictor.close()


def _predictor(arguments: PredictArguments, model: str) -> FilePredictor:
    rates = arguments.false_positive_rate, arguments.miss_rate
    if not arguments.server:
        from serving.model.predictor import Predictor

        return Predictor(model, arguments.all_faces, *rates, arguments.precropped)
    from pipeline.prediction.served_predictor import RemoteServer, ServedPredictor
    from serving.http.bearer import read_token

    server = RemoteServer(
        arguments.server,
        arguments.server_model,
        read_token(arguments.server_token_file),
        arguments.server_ca,
    )
    return ServedPredictor(server, model, arguments.all_faces, *rates, arguments.precropped)


def _saver(folder: Path, predictor: FilePredictor) -> Saver:
    from pipeline.prediction.saving import Saver

    return Saver(folder, predictor)


def _output(wanted: list[str], predictor: FilePredictor) -> Output:
    from pipeline.prediction import output

    kinds: dict[str, type[Output]] = {
        "--json": output.Json,
        "--jsonl": output.JsonLines,
        "--csv": output.Csv,
    }
    kind = kinds[wanted[0]] if wanted else output.Table
    return kind(predictor.decision_rule, predictor.about)
