"""What `deepfake extract` does: a dataset's faces as TFRecords, without a pipeline around it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from preprocessing import extraction_report
from preprocessing.face_extraction import ExtractFaces, Settings
from preprocessing.manifest import Manifest


def extract(
    manifest: Manifest,
    settings: Settings,
    output: str | Path,
    workers: int = 1,
    beam_args: list[str] | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Extracts the faces of a manifest's clips.

    Clips that an earlier call finished are not done again, so a call that was interrupted goes on
    where it stopped.

    Args:
      manifest: the clips, with their splits.
      settings: what to look for and how to cut it.
      output: folder that gets `manifest.csv`, `<split>/faces-*.gz`, `report.json`, `report.txt`,
        `contact_sheet.png` and `store/`, the finished clips.
      workers: worker processes; 1 works in this process.
      beam_args: further Beam arguments, as for another runner.
      say: told what was found, one text each.

    Returns:
      The report's summary; see `preprocessing.extraction_report.summarise`.

    Raises:
      RuntimeError: a clip of the manifest is missing in the report.
    """
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    output = Path(output).resolve()
    output.mkdir(parents=True, exist_ok=True)
    manifest.write_csv(output / "manifest.csv")
    splits = sorted({clip.split for clip in manifest.clips})
    for split in splits:
        # Shards of an earlier call may have other numbers; the store keeps what is in them.
        shutil.rmtree(output / split, ignore_errors=True)
    rows_path = output / "rows.json.tmp"
    options = PipelineOptions([*worker_args(workers), *(beam_args or [])])
    with beam.Pipeline(options=options) as pipeline:
        _ = (
            pipeline
            | "Clips" >> beam.Create(manifest.clips)
            | "ExtractFaces"
            >> ExtractFaces(
                root=str(manifest.root),
                store=str(output / "store"),
                outputs={split: str(output / split) for split in splits},
                clips_per_split={
                    split: sum(clip.split == split for clip in manifest.clips) for split in splits
                },
                settings=settings,
                threads=max(1, (os.cpu_count() or 1) // workers) if workers > 1 else 0,
            )
            | "Rows" >> beam.combiners.ToList()
            | "WriteRows" >> beam.Map(_write_json, str(rows_path))
        )
    rows = sorted(json.loads(rows_path.read_text()), key=lambda row: row["path"])
    rows_path.unlink()
    missing = {clip.path for clip in manifest.clips} - {row["path"] for row in rows}
    if missing:
        raise RuntimeError(f"{len(missing)} clips did not come out, the first is {min(missing)}")
    summary = extraction_report.write(output, rows)
    say((output / "report.txt").read_text(encoding="utf-8").partition("\n\n")[0])
    say(f"crops, report.txt and contact_sheet.png are in {output}")
    return summary


def worker_args(workers: int) -> list[str]:
    """Beam arguments for so many worker processes on this machine."""
    # Named in full: short names mean other runners in other versions of Beam.
    runner = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
    if workers == 1:
        return [runner, "--direct_running_mode=in_memory"]
    return [
        runner,
        "--direct_running_mode=multi_processing",
        f"--direct_num_workers={workers}",
    ]


def _write_json(rows: list[dict[str, Any]], path: str) -> None:
    Path(path).write_text(json.dumps(rows), encoding="ascii")
