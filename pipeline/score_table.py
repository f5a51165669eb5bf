"""A table of scores of all videos and pictures below a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.beam_runner import check_job_servers
from pipeline.console import Console, logged
from pipeline.inputs import INCOMPLETE, make_output, opened
from pipeline.prediction.inputs import is_within
from pipeline.score_lines import verdicts_of, write_lines
from pipeline.scoring import ScoringRequest, logits_error, score_request
from preprocessing.datasets.clip import (
    Clip,
    Problem,
    is_document,
    is_utf8,
    media,
    printable,
)
from preprocessing.datasets.listing import check_folder
from preprocessing.datasets.pictures import by_clip
from preprocessing.extraction.clip_row import ClipRow
from preprocessing.manifest.hashes import hash_clips
from preprocessing.manifest.manifest import problem_lines
from preprocessing.manifest.parts import Part
from preprocessing.media.container import IMAGE_ENDINGS, VIDEO_ENDINGS
from preprocessing.support.errors import UsageError
from preprocessing.support.files import place, replacing
from preprocessing.support.output_lock import locked
from serving.model import card
from serving.model.verdict import DecisionRule

_TABLE, _LINES = ".parquet", ".jsonl"


def write_score_table(request: ScoringRequest) -> int:
    """Writes scores, a row or a line for each file below the folder; labels are not needed.

    Pictures whose names say that they are frames or faces of one clip have one row together. A part
    of the clips is scored into the work folder beside the output, from which the call without a
    part takes it.

    Returns:
      0 when every file has a score, INCOMPLETE when one has none (documents such as `notes.txt`
      have a row, and do not count), 1 where the model gave NaN or infinite logits for a clip, which
      has no score then.

    Raises:
      UsageError: no model of this project, no clip, or an output of another ending.
    """
    target = place(request.output).resolve()
    if target.suffix not in (_TABLE, _LINES):
        raise UsageError(
            f"--output {request.output}: a table is written as {_TABLE}, and answers, one a line, "
            f"as {_LINES}"
        )
    card.read(request.model)
    check_job_servers(request.beam)
    work = make_output(str(target.with_suffix(".work")))
    if (part := request.part) is not None:
        # Not locked: parts may run at once, also the same part twice.
        folder = make_output(str(work / "parts" / part.name))
        return logged(folder, lambda console: _score_part(request, part, work, console))
    with locked(work, f"the scoring by {request.model}"):
        return logged(work / "logs", lambda console: _score(request, target, work, console))


def _score_part(request: ScoringRequest, part: Part, work: Path, console: Console) -> int:
    """Scores the clips of one part into the work folder; the table is written by a later call."""
    root = opened(request.data)
    listed, problems = _any_files(root, (work, place(request.output).resolve()))
    part_clips = part.of(root, listed)
    console.say(f"part {part.number} of {part.count}: {len(part_clips)} of {len(listed)} clips")
    clips, unreadable = hash_clips(root, part_clips, work / f"hashes-{part.name}.json")
    for line in problem_lines(unreadable if part.number > 1 else [*problems, *unreadable]):
        console.say(line)
    scored = score_request(request, tuple(clips), str(root), work, labelled=False)
    faceless = [row for row in scored.rows if not row.crops]
    for row in faceless:
        console.say(f"  {printable(row.path)}: {row.reason}")
    console.say(
        f"{len(clips) - len(faceless)} clips scored, {len(faceless) + len(unreadable)} without a "
        f"score; when all parts are done, the same command without --part writes {request.output}"
    )
    return INCOMPLETE if faceless or unreadable else 0


def _score(request: ScoringRequest, target: Path, work: Path, console: Console) -> int:
    root = opened(request.data)
    clips, problems = any_clips(root, work / "hashes.json", (work, target))
    console.say(f"{len(clips)} clips; finished ones are kept in {work}")
    for line in problem_lines(problems):
        console.say(line)

    import numpy as np
    import pandas as pd

    from components.evaluation.scores import clip_tables

    rates = request.false_positive_rate, request.miss_rate
    rule = DecisionRule.of(card.read(request.model), *rates)
    scored = score_request(request, clips, str(root), work, labelled=False)
    _, clip_table = clip_tables(scored.crops)
    pictures = {clip.path: len(clip.frames) or 1 for clip in clips}
    rows = pd.DataFrame([*map(_score_row, scored.rows), *map(_problem_row, problems)])
    rows["files"] = rows["clip_id"].map(pictures).fillna(1).astype(int)
    rows = rows.sort_values("clip_id", kind="stable", ignore_index=True)
    columns = ["clip_id", "score", "logit", "crops", "tracks", "face_size", "distance"]
    table = rows.merge(clip_table[columns], on="clip_id", how="left")
    table[["crops", "tracks"]] = table[["crops", "tracks"]].fillna(0).astype(int)
    finite = np.isfinite(table["logit"].astype(float))
    broken = (table["crops"] > 0) & ~finite
    reason = f"the model {request.model} gave NaN or infinite logits for it"
    table.loc[broken, "reason"] = reason
    table.loc[~finite, ["score", "logit"]] = np.nan
    table["verdict"] = [
        rule.verdict(logit, rule.familiarity_of_distance(distance)) if is_finite else ""
        for logit, distance, is_finite in zip(
            table["logit"], table["distance"], finite, strict=True
        )
    ]
    if target.suffix == _LINES:
        verdicts = verdicts_of(scored.rows, problems, scored.crops, rule, reason)
        saved_model = card.find_saved_model(request.model)
        about = card.read(saved_model).about(*card.name_and_version(saved_model))
        write_lines(target, verdicts, about)
    else:
        with replacing(target, binary=True) as file:
            table.to_parquet(file, index=False)
    missing = table[table["score"].isna()]
    why = " (`reason` says why)" if len(missing) else ""
    console.say(
        f"{len(table) - len(missing)} files scored, {len(missing)} without a score{why}: {target}"
    )
    for reason, number in missing["reason"].value_counts().items():
        console.say(f"  {number} without a score: {reason}")
    console.say(rule.meaning())
    if broken.any():
        console.say(logits_error(request.model, table["clip_id"][broken].tolist()))
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


def any_clips(
    root: Path, hashes: Path, outputs: tuple[Path, ...]
) -> tuple[tuple[Clip, ...], list[Problem]]:
    """All pictures and videos below a folder, whatever layout it has, and what else is there.

    Pictures whose names say that they are frames or faces of one clip are one.

    Args:
      root: the folder.
      hashes: file of hashes that an earlier call computed.
      outputs: the command's own files and folders, which may lie below the folder.

    Returns:
      Clips with hashes, and what cannot be opened or is something else.

    Raises:
      UsageError: there is no such folder, or no clip in it.
    """
    listed, problems = _any_files(root, outputs)
    clips, unreadable = hash_clips(root, listed, hashes)
    problems = [*problems, *unreadable]
    if not clips:
        raise _nothing_in(root, problems)
    return tuple(clips), problems


def _any_files(root: Path, outputs: tuple[Path, ...]) -> tuple[list[Clip], list[Problem]]:
    """`any_clips` without hashes: no file is opened."""
    check_folder(root)
    paths, problems = media(root, "", VIDEO_ENDINGS | IMAGE_ENDINGS)
    paths = [path for path in paths if not is_within(root / path, outputs)]
    problems = [problem for problem in problems if not is_within(root / problem.path, outputs)]
    # Records need a label; the table of scores has no column for it.
    listed = [
        Clip(files.path, 0, "folder", "", frames=files.frames)
        for files in by_clip(paths, "", sure=True)
    ]
    if not listed:
        raise _nothing_in(root, problems)
    return listed, problems


def _nothing_in(root: Path, problems: list[Problem]) -> UsageError:
    heading = f"{printable(str(root))} holds no video or picture that can be opened"
    return UsageError("\n".join([heading, *problem_lines(problems)]))
