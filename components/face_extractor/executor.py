"""Runs the extraction transform and accounts for every clip of the manifest."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from preprocessing.datasets.clip import SPLITS, printable
from preprocessing.extraction import extraction_report
from preprocessing.extraction.clip_row import ClipRow
from preprocessing.extraction.face_extraction import run_extraction, store_key, stored_clip
from preprocessing.extraction.failures import Failures
from preprocessing.faces.crop_settings import CropSettings
from preprocessing.faces.given_crops import TOO_TIGHT
from preprocessing.manifest.manifest import Manifest
from preprocessing.support import progress
from preprocessing.support.errors import UsageError
from preprocessing.support.files import place, scan

# A share above this is a disk, network or memory that fails, not single clips: what would be
# trained on the rest is not what was asked for, and going on later costs nothing.
MAX_FAILED_SHARE = 0.01


class Executor(base_beam_executor.BaseBeamExecutor):
    """Executor of FaceExtractor."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Extracts the faces of all clips.

        Args:
          input_dict: empty.
          output_dict: `examples` and `report`, one artifact each.
          exec_properties: the parameters of FaceExtractorSpec.

        Raises:
          UsageError: a split ends without any face, most of its given crops are cut too tight, or
            a larger share of the clips than `MAX_FAILED_SHARE` failed for a passing reason.
          RuntimeError: a clip of the manifest is missing in the report.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        report = artifact_utils.get_single_instance(output_dict["report"])
        manifest = Manifest.read_csv(exec_properties["manifest"], exec_properties["root"])
        settings = CropSettings.from_dict(json.loads(exec_properties["settings"]), key="settings")
        workers = exec_properties["workers"]
        splits = list(SPLITS)
        examples.split_names = artifact_utils.encode_split_names(splits)
        outputs = {split: artifact_utils.get_split_uri([examples], split) for split in splits}
        for folder in outputs.values():
            os.makedirs(folder, exist_ok=True)
        os.makedirs(report.uri, exist_ok=True)

        store = exec_properties["store"]
        with _Progress(store, settings, manifest):
            rows = run_extraction(
                self._make_beam_pipeline(),
                str(manifest.root),
                manifest.clips,
                store,
                outputs,
                settings,
                workers,
                report.uri,
            )
        summary = extraction_report.write(report.uri, rows, manifest.problems)
        report.set_int_custom_property("clips", summary["clips"])
        report.set_int_custom_property("clips_reported", summary["clips_reported"])
        report.set_int_custom_property("crops", summary["crops"])
        failed = {row.path: row.reason for row in rows if row.failed}
        record = exec_properties["failures"]
        Failures.read(record).after(exec_properties["attempt"], failed).write(record)
        _check_failures(failed, rows, report.uri)
        _check_geometry(rows, settings)
        _check_splits(splits, summary, report.uri, settings)


def _check_failures(failed: dict[str, str], rows: Sequence[ClipRow], report: str) -> None:
    """Refuses a run in which too many clips failed."""
    if len(failed) > MAX_FAILED_SHARE * len(rows):
        path, reason = next(iter(failed.items()))
        raise UsageError(
            f"{len(failed)} of {len(rows)} clips failed, such as {printable(path)}: {reason}. "
            "Finished clips are kept: mend the cause and run the same command again, which "
            f"tries these alone, or remove them; all stand in {report}/report.txt"
        )


def _check_geometry(rows: Sequence[ClipRow], settings: CropSettings) -> None:
    """Refuses a split of given crops most of which lack what the geometry wants to see."""
    for split in SPLITS:
        of_split = [row for row in rows if row.split == split]
        tight = sum(row.dropped.get(TOO_TIGHT, 0) for row in of_split)
        faces = sum(row.faces for row in of_split)
        if 2 * tight > faces:
            raise UsageError(
                f"{tight} of {faces} crops of the split {split!r} are cut tighter than "
                f"extraction.eye_distance={settings.eye_distance:g} wants; `deepfake index DIR "
                "--preset face_crops` measures them: set extraction.eye_distance and "
                "extraction.eye_height to what they have"
            )


def _check_splits(
    splits: Iterable[str], summary: dict[str, Any], report: str, settings: CropSettings
) -> None:
    """Refuses a split without a crop."""
    what, hint = "crop was kept of", ""
    if not settings.precropped:
        what = "face was found in"
        hint = ". If the files are face crops already, set data.precropped=true"
    for split in splits:
        if not summary["splits"].get(split, {}).get("crops"):
            raise UsageError(
                f"no {what} any clip of the split {split!r}; see "
                f"{os.path.join(report, 'report.txt')} for each clip's reason{hint}"
            )


class _Progress:
    """Reports finished clips while Beam works, by looking at the face store.

    Workers may be other processes or machines; the store is what they all share.
    """

    _SECONDS = 2.0

    def __init__(self, store: str, settings: CropSettings, manifest: Manifest):
        key = store_key(settings)
        self._paths = {stored_clip(store, key, clip) for clip in manifest.clips}
        self._folder = place(store) / key
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._report()

    def _watch(self) -> None:
        seconds = self._SECONDS
        while not self._stop.wait(seconds):
            start = time.monotonic()
            self._report()
            # A large store takes long to list.
            seconds = max(self._SECONDS, 10 * (time.monotonic() - start))

    def _report(self) -> None:
        names = {path.name for path in self._paths}
        try:
            done = sum(entry.name in names for entry in scan(self._folder))
        except OSError:  # Not yet there, or a store that is busy.
            done = 0
        progress.report("extract", done, len(names), "clips")
