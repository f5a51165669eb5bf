"""`deepfake evaluate` and `deepfake score`: a finished model on data of any kind."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.console import Console
from pipeline.inputs import INCOMPLETE, make_output
from preprocessing import datasets, model_metadata
from preprocessing.clip_row import ClipRow
from preprocessing.datasets.clip import (
    IMAGE_ENDINGS,
    VIDEO_ENDINGS,
    Clip,
    Problem,
    is_document,
    is_utf8,
    media,
    printable,
)
from preprocessing.errors import UsageError, cause
from preprocessing.face_selection import ALL, ANSWER
from preprocessing.files import hash_clips
from preprocessing.manifest import (
    Manifest,
    build_manifest,
    check_labels,
    left_out,
    problem_lines,
)
from preprocessing.output_lock import locked
from preprocessing.verdict import NO_BAND, thresholds_of

if TYPE_CHECKING:
    from components.clip_evaluator.bulk import Scored

_RESAMPLES = 1000


@dataclasses.dataclass(frozen=True)
class Request:
    """What a command was asked for.

    Attributes:
      model: folder of a model.
      data: folder of the clips.
      output: where to write; a folder for `evaluate`, a .parquet file for `score`.
      precropped: the files are face crops already.
      official_test: only the clips of the dataset's own test list.
      workers: Beam worker processes.
      all_faces: judge every face that is found, bystanders and short tracks as well.
    """

    model: str
    data: str
    output: str
    precropped: bool = False
    official_test: bool = False
    workers: int = 1
    all_faces: bool = False


def evaluate(request: Request) -> int:
    """Measures a model on a labelled dataset and writes the report of a run about it.

    Returns:
      0; also where a figure could not be measured, which is said. INCOMPLETE where something of
      the dataset's folder is not among what was measured.

    Raises:
      UsageError: no model of ours, no dataset, labels that contradict each other, or no face in
        all of it.
    """
    model_metadata.read(request.model)
    output = make_output(request.output)
    with locked(output, f"the evaluation of {request.model}"):
        return _with_console(output / "logs", lambda console: _evaluate(request, output, console))


def score(request: Request) -> int:
    """Writes a table of scores, a row for each file below the folder; labels are not needed.

    Returns:
      0 when every file has a score, INCOMPLETE when one has none (documents such as `notes.txt`
      have a row, and do not count), 1 where the model gave NaN or infinite logits for a clip, which
      has no score then.

    Raises:
      UsageError: no model of ours, no clip, or an output that is no .parquet file.
    """
    target = Path(request.output).resolve()
    if target.suffix != ".parquet":
        raise UsageError(f"--output {request.output}: the table is written as .parquet")
    model_metadata.read(request.model)
    work = make_output(str(target.with_suffix(".work")))
    with locked(work, f"the scoring by {request.model}"):
        return _with_console(work / "logs", lambda console: _score(request, target, work, console))


def _evaluate(request: Request, output: Path, console: Console) -> int:
    manifest = _labelled(request, output / "inputs" / "hashes.json")
    path = output / "inputs" / "manifest.csv"
    manifest.write_csv(path)
    names = sorted({clip.dataset for clip in manifest.clips})
    console.say(f"{len(manifest.clips)} clips of {', '.join(names)}")
    for line in problem_lines(manifest.problems):
        console.say(line)
    for warning in _warnings(manifest.clips, request):
        console.say(f"warning: {warning}")

    from components.clip_evaluator import results
    from components.clip_evaluator.evaluation import evaluate as measure
    from components.clip_evaluator.evaluation import find
    from components.report.build import build
    from components.report.data import Sources
    from preprocessing import extraction_report

    scored = _scored(request, manifest.clips, str(manifest.root), output)
    folder = output / "clip_evaluation"
    folder.mkdir(exist_ok=True)
    results.write_scores(folder, "test", scored.crops)
    measured = measure(scored.crops, _RESAMPLES)
    results.write(folder, {"test": measured}, [], None)
    extraction = output / "extraction"
    extraction.mkdir(exist_ok=True)
    extraction_report.write(extraction, scored.rows, manifest.problems)
    saved_model = model_metadata.find_saved_model(request.model)
    page = build(
        Sources(
            name=f"{'/'.join(saved_model.parts[-2:])} on "
            f"{printable(Path(request.data).resolve().name)}",
            model=str(saved_model),
            clip_evaluation=str(folder),
            records=scored.records,
            manifest=str(path),
            root=str(manifest.root),
            extraction=str(extraction),
            title="A finished model on a dataset.",
        ),
        output,
    )
    for name, one in find(measured.clips).metrics.items():
        value = "not measured" if one.value is None else f"{one.value:.4f}"
        between = "" if one.low is None else f" [{one.low:.4f}, {one.high:.4f}]"
        note = f" ({one.note})" if one.note else ""
        console.say(f"{name.replace('_', ' '):<20}{value}{between}{note}")
    faceless = sum(not row.crops for row in scored.rows)
    if faceless:
        console.say(
            f"without {faceless} of {len(scored.rows)} clips, in which no face was judged; why, "
            f"says {extraction}/report.txt"
        )
    missing = left_out(manifest.root, manifest.clips, manifest.problems)
    if missing:
        console.say(
            f"without {len(missing)} files and folders that are no clips of the dataset; each "
            f"stands in {extraction}/report.txt"
        )
    console.say(f"report: {page}")
    return INCOMPLETE if faceless or missing else 0


def _score(request: Request, target: Path, work: Path, console: Console) -> int:
    root = Path(request.data).resolve()
    clips, problems = _any_clips(root, work / "hashes.json", (work, target))
    console.say(f"{len(clips)} clips; finished ones are kept in {work}")
    for line in problem_lines(problems):
        console.say(line)

    import numpy as np
    import pandas as pd

    from components.clip_evaluator.scores import clip_tables

    scored = _scored(request, clips, str(root), work, faces_needed=False)
    _, found = clip_tables(scored.crops)
    rows = pd.DataFrame([*map(_score_row, scored.rows), *map(_problem_row, problems)])
    rows = rows.sort_values("clip_id", kind="stable", ignore_index=True)
    columns = ["clip_id", "score", "logit", "crops", "tracks", "face_size"]
    table = rows.merge(found[columns], on="clip_id", how="left")
    table[["crops", "tracks"]] = table[["crops", "tracks"]].fillna(0).astype(int)
    finite = np.isfinite(table["logit"].astype(float))
    broken = (table["crops"] > 0) & ~finite
    table.loc[broken, "reason"] = f"the model {request.model} gave NaN or infinite logits for it"
    table.loc[~finite, ["score", "logit"]] = np.nan
    thresholds = thresholds_of(model_metadata.read(request.model).operating_points)
    table["verdict"] = [
        thresholds.verdict(logit) if thresholds and known else ""
        for logit, known in zip(table["logit"], finite, strict=True)
    ]
    temporary = target.with_suffix(".parquet.tmp")
    table.to_parquet(temporary, index=False)
    temporary.replace(target)
    for shard in scored.records:  # Copies of what the face store holds.
        Path(shard).unlink()
    missing = table[table["score"].isna()]
    why = " (the column `reason` says why)" if len(missing) else ""
    console.say(
        f"{len(table) - len(missing)} files scored, {len(missing)} without a score{why}: {target}"
    )
    for reason, number in missing["reason"].value_counts().items():
        console.say(f"  {number} without a score: {reason}")
    console.say(thresholds.text() if thresholds else NO_BAND)
    if broken.any():
        console.say(
            f"error: the model {request.model} gave NaN or infinite logits for {broken.sum()} "
            f"clips, the first of them {table['clip_id'][broken].iloc[0]}; it cannot be used"
        )
        return 1
    unscored = [name for name in missing["clip_id"] if not is_document(root / name)]
    return INCOMPLETE if unscored else 0


def _score_row(row: ClipRow) -> dict[str, Any]:
    dropped = "; ".join(f"{number} {reason}" for reason, number in sorted(row.dropped.items()))
    return {
        "clip_id": row.path,
        "frames": row.frames,
        "faces_found": row.faces,
        "faces_left_out": dropped,
        "note": row.note,
        "notes": "; ".join(row.notes),
        "reason": row.reason,
    }


def _problem_row(problem: Problem) -> dict[str, Any]:
    # A table holds UTF-8 only.
    name = problem.path if is_utf8(problem.path) else printable(problem.path)
    empty = {"frames": 0, "faces_found": 0, "faces_left_out": "", "note": "", "notes": ""}
    return {"clip_id": name, **empty, "reason": problem.reason}


def _scored(
    request: Request,
    clips: tuple[Clip, ...],
    root: str,
    work: Path,
    faces_needed: bool = True,
) -> Scored:
    from components.clip_evaluator.bulk import score_clips

    policy = ALL if request.all_faces else ANSWER
    scored = score_clips(
        request.model, clips, root, work, request.precropped, request.workers, policy
    )
    if faces_needed and scored.crops.empty:
        reasons = sorted({row.reason for row in scored.rows})
        raise UsageError(
            f"none of the {len(clips)} clips of {request.data} gave a face ({'; '.join(reasons)}); "
            "if the files are face crops already, say --precropped"
        )
    return scored


def _labelled(request: Request, hashes: Path) -> Manifest:
    protocol = "official" if request.official_test else "clip"
    root = Path(request.data).resolve()
    from preprocessing.datasets import demo  # Loads scikit-image.

    layout = "demo" if (root / demo.MARKER).exists() else "auto"
    manifest = build_manifest(root, layout, protocol, 0.1, 0.1, 1, hashes)
    check_labels(manifest.clips)
    clips = [c for c in manifest.clips if not request.official_test or c.split == "test"]
    if not clips:
        raise UsageError(f"{request.data} holds no clip that can be used")
    tested = tuple(dataclasses.replace(clip, split="test") for clip in clips)
    return dataclasses.replace(manifest, clips=tested)


def _any_clips(
    root: Path, hashes: Path, made: tuple[Path, ...]
) -> tuple[tuple[Clip, ...], list[Problem]]:
    """All pictures and videos below a folder, whatever layout it has, and what else is there.

    `made` are the command's own files, which may lie below the folder.
    """
    datasets.check_folder(root)
    paths, problems = media(root, "", VIDEO_ENDINGS | IMAGE_ENDINGS)
    paths = [path for path in paths if not _is_within(root / path, made)]
    problems = [problem for problem in problems if not _is_within(root / problem.path, made)]
    # Records need a label; the table of scores has no column for it.
    clips, unreadable = hash_clips(root, (Clip(path, 0, "folder", "") for path in paths), hashes)
    problems = [*problems, *unreadable]
    if not clips:
        raise UsageError(
            "\n".join(
                [
                    f"{printable(str(root))} holds no video or picture that can be opened",
                    *problem_lines(problems),
                ]
            )
        )
    return tuple(clips), problems


def _is_within(path: Path, folders: tuple[Path, ...]) -> bool:
    return any(path == folder or folder in path.parents for folder in folders)


def _warnings(clips: tuple[Clip, ...], request: Request) -> list[str]:
    found = []
    labels = {clip.label for clip in clips}
    if len(labels) == 1:
        has = "fake" if labels == {1} else "real"
        found.append(
            f"{request.data} holds only {has} clips: AUC and all that needs both classes are not "
            "measured"
        )
    card = model_metadata.read(request.model)
    if request.precropped and not card.wants_crops:
        found.append(
            "the files are taken for crops as they are, but the model was trained on crops with "
            f"margin {card.extraction.get('margin')} cut by this project; other crops change its "
            "scores"
        )
    return found


def _with_console(logs: Path, work: Callable[[Console], int]) -> int:
    log = logs / f"{datetime.datetime.now():%Y%m%d-%H%M%S}.log"
    with Console(log) as console:
        try:
            return work(console)
        except BaseException as error:
            if cause(error, KeyboardInterrupt):
                console.say(
                    "interrupted; finished clips are kept, the same command goes on from them"
                )
                return 130
            usage = cause(error, UsageError)
            if usage:
                raise usage from error
            if not isinstance(error, Exception):
                raise
            # The boundary of the program: the traceback is for the log, one line for the person.
            logging.error("%s", traceback.format_exc())
            console.say(f"error: {type(error).__name__}: {error}")
            console.say(f"the traceback is at the end of {log}")
            return 1
