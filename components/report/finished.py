"""Finds the reports of finished runs, and draws them again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.report.build import DATA, PAGE, build
from components.report.data import Sources
from preprocessing.support.errors import UsageError


def locate(run: str | Path) -> Path:
    """The folder of a run's report.

    Args:
      run: the `--output` of `deepfake run` or of `deepfake evaluate`.

    Raises:
      UsageError: there is no report.
    """
    run = Path(run)
    if (run / DATA).is_file():
        return run
    try:
        page = json.loads((run / "summary.json").read_text(encoding="utf-8"))["page"]
    except (OSError, ValueError, KeyError):
        raise UsageError(
            f"{run} holds no report: name the --output of a finished `deepfake run` or "
            "`deepfake evaluate`"
        ) from None
    # A run's folder may have been moved since.
    for folder in (Path(page).parent, run / "/".join(Path(page).parts[-5:-1])):
        if (folder / DATA).is_file():
            return folder
    raise UsageError(f"the report of {run} is gone from {Path(page).parent}; run it again")


def rebuild(folder: Path) -> Path:
    """Draws a report again from the artifacts that it was made of.

    Raises:
      UsageError: artifacts are gone.
    """
    sources = read_data(folder)["sources"]
    sources["records"] = tuple(sources["records"])
    artifacts = Sources(**sources)
    for place in (artifacts.model, artifacts.clip_evaluation, *artifacts.records):
        if not Path(place).exists():
            raise UsageError(f"the report cannot be drawn again: {place} is gone")
    return build(artifacts, folder)


def page_of(run: str | Path, again: bool) -> Path:
    """The page of a run; drawn again when asked, or when it is gone."""
    folder = locate(run)
    existing = folder / PAGE
    return rebuild(folder) if again or not existing.exists() else existing


def read_data(folder: Path) -> dict[str, Any]:
    """What a report's page was drawn from; `folder` is that of `locate`."""
    return json.loads((folder / DATA).read_text(encoding="utf-8"))
