"""A dataset's faces as TFRecords in a folder, or in the face store alone, without a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from preprocessing.datasets.clip import SPLITS, Clip
from preprocessing.extraction import extraction_report
from preprocessing.extraction.face_extraction import extraction_pipeline, run_extraction
from preprocessing.faces.crop_settings import CropSettings
from preprocessing.manifest.manifest import Manifest, problem_lines
from preprocessing.support.files import TEXT, delete_folder, place
from preprocessing.support.output_lock import locked


def extract_dataset(
    manifest: Manifest,
    settings: CropSettings,
    output: str | Path,
    workers: int = 1,
    beam_args: Sequence[str] = (),
    say: Callable[[str], None] = print,
    store: str | Path | None = None,
) -> dict[str, Any]:
    """Extracts the faces of a manifest's clips.

    Clips that an earlier call finished are not done again, so a call that was interrupted goes on
    where it stopped.

    Args:
      manifest: the clips, with their splits.
      settings: what to look for and how to cut it.
      output: folder that gets `manifest.csv`, `<split>/faces-*.gz`, `report.json`, `report.txt`,
        `contact_sheet.png` and `.lock`.
      workers: worker processes of a machine; 1 works in this process.
      beam_args: of another runner than the local one.
      say: called with each text of the outcome.
      store: folder of finished clips, which several calls may share; `store/` of the output by
        default.

    Returns:
      The report's summary; see `preprocessing.extraction.extraction_report.summarise`.

    Raises:
      RuntimeError: a clip of the manifest is missing in the report.
      UsageError: another process writes into the folder.
    """
    output = place(output).resolve()
    output.mkdir(parents=True, exist_ok=True)
    with locked(output, "an extraction"):
        finished = place(store or output / "store").resolve()
        return _extract(manifest, settings, output, finished, workers, beam_args, say)


def _extract(
    manifest: Manifest,
    settings: CropSettings,
    output: Path,
    store: Path,
    workers: int,
    beam_args: Sequence[str],
    say: Callable[[str], None],
) -> dict[str, Any]:
    manifest.write_csv(output / "manifest.csv")
    splits = sorted({clip.split for clip in manifest.clips})
    for split in {*splits, *SPLITS}:
        # Shards of an earlier call may have other numbers, or be of a split that is no more; the
        # store keeps what is in them.
        delete_folder(output / split)
    rows = run_extraction(
        extraction_pipeline(workers, beam_args),
        str(manifest.root),
        manifest.clips,
        str(store),
        {split: str(output / split) for split in splits},
        settings,
        workers,
        str(output),
    )
    summary = extraction_report.write(output, rows, manifest.problems)
    say((output / "report.txt").read_text(**TEXT).partition("\n\n")[0])
    for line in problem_lines(manifest.problems):
        say(line)
    say(f"crops, report.txt and contact_sheet.png are in {output}")
    return summary


def fill_face_store(
    root: Path,
    clips: Sequence[Clip],
    settings: CropSettings,
    report: Path,
    store: str | Path,
    workers: int = 1,
    beam_args: Sequence[str] = (),
) -> dict[str, Any]:
    """Fills the face store with some of a dataset's clips; records are made of it later.

    Several processes may fill one store, also with the same clips: an entry is complete or absent.

    Args:
      root: the dataset's folder.
      clips: with hashes.
      settings: what to look for and how to cut it.
      report: folder that gets `report.json`, `report.txt` and `contact_sheet.png` of these clips.
      store: folder of finished clips.
      workers: worker processes of a machine; 1 works in this process.
      beam_args: of another runner than the local one.

    Returns:
      The report's summary; see `preprocessing.extraction.extraction_report.summarise`.
    """
    report.mkdir(parents=True, exist_ok=True)
    rows = run_extraction(
        extraction_pipeline(workers, beam_args),
        str(root),
        clips,
        str(store),
        {},
        settings,
        workers,
        str(report),
    )
    return extraction_report.write(report, rows)
