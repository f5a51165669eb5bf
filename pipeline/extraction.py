"""`deepfake extract`: all clips, one part of them, and how far the parts are.

A part finds its clips without hashing those of others, and fills the face store of the output
folder, which `deepfake run` and `deepfake extract` read. What it hashed lies beside, for them.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.beam_runner import beam_args, check_job_servers
from pipeline.config import Config
from pipeline.console import Console, logged
from pipeline.inputs import (
    INCOMPLETE,
    dataset_folder,
    face_store_of,
    hash_cache_of,
    index,
    list_of,
    make_output,
)
from preprocessing.datasets.clip import Clip, Listing
from preprocessing.datasets.listing import list_clips
from preprocessing.manifest.checks import left_out
from preprocessing.manifest.hashes import hash_clips, known_clips
from preprocessing.manifest.manifest import problem_lines
from preprocessing.manifest.parts import Part
from preprocessing.support.errors import UsageError
from preprocessing.support.files import TEXT, place

if TYPE_CHECKING:
    from preprocessing.extraction.clip_row import ClipRow


def extract_all(config: Config) -> int:
    """Extracts the faces of a dataset and writes records, a report and a contact sheet.

    Returns:
      0, INCOMPLETE where something of the dataset's folder gave no face, or as `logged`.

    Raises:
      UsageError: no dataset is named, the folder is not one, the output is in use, or a job server
        does not answer.
    """
    check_job_servers(config.beam)
    folder = make_output(config.output)
    manifest = index(config)

    def work(console: Console) -> int:
        from preprocessing.extraction.dataset_extraction import extract_dataset

        summary = extract_dataset(
            manifest,
            config.extraction.crop_settings(config.data.precropped),
            folder / "faces",
            workers=config.extraction.workers,
            beam_args=_beam_args(config),
            say=console.say,
            store=face_store_of(config),
        )
        missing = left_out(manifest.root, manifest.clips, manifest.problems)
        return INCOMPLETE if missing or summary["clips_reported"] else 0

    return logged(folder / "logs", work)


def extract_part(config: Config, part: Part) -> int:
    """Extracts the faces of one part's clips into the face store.

    Returns:
      0, INCOMPLETE where a clip of this part gave no face or cannot be opened, or as `logged`.

    Raises:
      UsageError: no dataset or output is named, the folder is no dataset, or a job server does not
        answer.
    """
    check_job_servers(config.beam)
    store = face_store_of(config)
    folder = make_output(str(_reports(config) / part.name))
    root, listing = _listing(config)
    part_clips = part.of(root, listing.clips)

    def work(console: Console) -> int:
        console.say(
            f"part {part.number} of {part.count}: {len(part_clips)} of {len(listing.clips)} clips"
        )
        hashes = make_output(str(place(config.output) / "inputs")) / f"hashes-{part.name}.json"
        clips, unreadable = hash_clips(root, part_clips, hashes)
        for line in problem_lines(unreadable):
            console.say(line)
        from preprocessing.extraction.dataset_extraction import fill_face_store

        summary = fill_face_store(
            root,
            clips,
            config.extraction.crop_settings(config.data.precropped),
            folder,
            store,
            config.extraction.workers,
            _beam_args(config),
        )
        console.say((folder / "report.txt").read_text(**TEXT).partition("\n\n")[0])
        return INCOMPLETE if unreadable or summary["clips_reported"] else 0

    return logged(folder / "logs", work)


def extraction_status(config: Config) -> int:
    """Prints how many clips are in the face store, without reading any clip.

    Returns:
      0 where every clip is there, else INCOMPLETE.

    Raises:
      UsageError: no dataset or output is named, the folder is no dataset, or nothing was extracted.
    """
    if not place(face_store_of(config)).is_dir():
        raise UsageError(
            f"nothing was extracted into {config.output}; there is no face store in it"
        )
    root, listing = _listing(config)
    known = known_clips(root, listing.clips, hash_cache_of(config))
    finished = _finished(config, root, listing.clips, known)
    missing = {clip.path for clip in listing.clips} - finished.keys()
    reasons = _reasons_of_failures(config)
    failed = {path: reasons[path] for path in missing & reasons.keys()}
    faceless = [row.reason for row in finished.values() if not row.crops]
    print(
        f"{len(listing.clips)} clips: {len(finished) - len(faceless)} done with faces, "
        f"{len(faceless)} done without, {len(failed)} failed, {len(missing) - len(failed)} to do"
    )
    _print_reasons("without a face", faceless)
    _print_reasons("failed, and tried again by the next call", failed.values())
    return INCOMPLETE if missing else 0


def _finished(
    config: Config, root: Path, listed: Iterable[Clip], known: Sequence[Clip]
) -> dict[str, ClipRow]:
    from preprocessing.extraction.finished_clips import finished_clips

    settings = config.extraction.crop_settings(config.data.precropped)
    return finished_clips(face_store_of(config), settings, root, listed, known)


def _reasons_of_failures(config: Config) -> dict[str, str]:
    """Path of a clip that failed for a passing reason -> the reason, by the reports of parts."""
    from preprocessing.extraction import extraction_report

    reports = [
        extraction_report.read(path.parent) for path in _reports(config).glob("*/report.json")
    ]
    return {row.path: row.reason for report in reports for row in report.clips if row.failed}


def _print_reasons(title: str, reasons: Iterable[str]) -> None:
    for reason, number in sorted(collections.Counter(reasons).items()):
        print(f"  {number} {title}: {reason}")


def _listing(config: Config) -> tuple[Path, Listing]:
    root = dataset_folder(config)
    return root, list_clips(root, config.data.layout, list_of(config))


def _beam_args(config: Config) -> list[str]:
    return beam_args(config.beam, "FaceExtractor", config.extraction.workers)


def _reports(config: Config) -> Path:
    return place(config.output) / "parts"
