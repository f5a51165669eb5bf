"""Measures a finished model on a labelled dataset, and writes the report of a run about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from components.evaluation.measures import StoredMeasure
from pipeline.console import Console, logged
from pipeline.inputs import INCOMPLETE, make_output, opened
from pipeline.scoring import ScoringRequest, logits_error, score_request
from preprocessing.datasets.clip import printable
from preprocessing.datasets.demo_config import is_made
from preprocessing.manifest.build import build_manifest
from preprocessing.manifest.checks import check_labels, clips_by_numbers, left_out
from preprocessing.manifest.manifest import Manifest, problem_lines
from preprocessing.support.errors import UsageError
from preprocessing.support.files import place, refuse_bucket
from preprocessing.support.output_lock import locked
from serving.model import card
from serving.model.verdict import DecisionRule

if TYPE_CHECKING:
    from pipeline.clip_scoring import ScoredClips


def evaluate_model(request: ScoringRequest) -> int:
    """Measures a model on a labelled dataset and writes the report of a run about it.

    Returns:
      0; also where a figure could not be measured for want of a class, which is said. INCOMPLETE
      where something of the dataset's folder is not among what was measured, 1 where the model
      gave NaN or infinite logits.

    Raises:
      UsageError: no model of this project, no dataset, labels that contradict each other, or no
        face in all of it.
    """
    card.read(request.model)
    refuse_bucket(request.output)
    output = make_output(request.output)
    with locked(output, f"the evaluation of {request.model}"):
        return logged(output / "logs", lambda console: _evaluate(request, output, console))


def _evaluate(request: ScoringRequest, output: Path, console: Console) -> int:
    manifest = _labelled(request, output / "inputs" / "hashes.json")
    path = output / "inputs" / "manifest.csv"
    manifest.write_csv(path)
    names = sorted({clip.dataset for clip in manifest.clips})
    console.say(f"{len(manifest.clips)} clips of {', '.join(names)}")
    for line in problem_lines(manifest.problems):
        console.say(line)
    for warning in _warnings(manifest, request):
        console.say(f"warning: {warning}")

    import numpy as np

    from components.evaluation import results
    from components.evaluation.measurement import find, measure_split
    from components.report.build import build
    from components.report.data import Sources
    from preprocessing.extraction import extraction_report

    scored = score_request(request, manifest.clips, str(manifest.root), output)
    folder = output / "clip_evaluation"
    folder.mkdir(exist_ok=True)
    results.write_scores(folder, "test", scored.crops)
    measured = measure_split(scored.crops)
    results.write(folder, {"test": measured}, [], None)
    extraction = output / "extraction"
    extraction.mkdir(exist_ok=True)
    extraction_report.write(extraction, scored.rows, manifest.problems)
    saved_model = card.find_saved_model(request.model)
    page = build(
        Sources(
            name=f"{'/'.join(saved_model.parts[-2:])} on "
            f"{printable(place(request.data).resolve().name)}",
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
    _say_metrics(find(measured.clips).metrics, console)
    missing = _say_what_is_missing(manifest, scored, extraction, console)
    console.say(f"report: {page}")
    broken = scored.crops["clip_id"][~np.isfinite(scored.crops["logit"])]
    if len(broken):
        console.say(logits_error(request.model, sorted(set(broken))))
        return 1
    return INCOMPLETE if missing else 0


def _say_what_is_missing(
    manifest: Manifest, scored: ScoredClips, extraction: Path, console: Console
) -> bool:
    """Tells which clips and files of the folder were not measured; whether there are any."""
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
    return bool(faceless or missing)


def _say_metrics(metrics: Mapping[str, StoredMeasure], console: Console) -> None:
    for name, measure in metrics.items():
        value = "not measured" if measure.value is None else f"{measure.value:.4f}"
        between = "" if measure.low is None else f" [{measure.low:.4f}, {measure.high:.4f}]"
        note = f" ({measure.note})" if measure.note else ""
        console.say(f"{name.replace('_', ' '):<28}{value}{between}{note}")


def _labelled(request: ScoringRequest, hashes: Path) -> Manifest:
    protocol = "official" if request.official_test else "clip"
    root = opened(request.data)
    layout = "demo" if is_made(root) else "auto"
    manifest = build_manifest(root, layout, protocol, 0.1, 0.1, 1, hashes)
    check_labels(manifest.clips)
    clips = manifest.clips
    if request.official_test:
        # Clips that no list names were divided, too.
        clips = tuple(clip for clip in clips if clip.official_split == "test")
        if manifest.clips and not clips:
            raise UsageError(f"--official-test: no test list names a clip of {request.data}")
    if not clips:
        raise UsageError(f"{request.data} holds no clip that can be used")
    tested = tuple(dataclasses.replace(clip, split="test") for clip in clips)
    return dataclasses.replace(manifest, clips=tested)


def _warnings(manifest: Manifest, request: ScoringRequest) -> list[str]:
    merged = clips_by_numbers(manifest)
    warnings = [merged] if merged else []
    labels = {clip.label for clip in manifest.clips}
    if len(labels) == 1:
        class_name = "fake" if labels == {1} else "real"
        warnings.append(
            f"{request.data} holds only {class_name} clips: AUC and all that needs both "
            "classes are not measured"
        )
    model_card = card.read(request.model)
    if model_card.made_data:
        warnings.append(DecisionRule.of(model_card).meaning())
    if request.precropped and not model_card.wants_crops:
        warnings.append(
            "the files are taken for crops, but the model wants crops that this project cuts: "
            "theirs are kept, cut again or left out as their geometry is, and may be scored "
            "differently"
        )
    return warnings
