"""Answers for files one after the other, for `deepfake predict`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.inputs import INCOMPLETE
from pipeline.prediction.inputs import Item
from pipeline.prediction.output import Output
from pipeline.prediction.progress_line import ProgressLine
from preprocessing.datasets.clip import printable
from preprocessing.support.quiet import quiet
from serving.model.outputs import NO_HEAT_MAPS
from serving.model.predictor import FilePredictor
from serving.model.verdict import Verdict

if TYPE_CHECKING:
    from pipeline.prediction.saving import Saver
    from preprocessing.faces.face_cropper import Crop

_LOG = logging.getLogger(__name__)

ANSWERED, FAILED = 0, 1


def predict_items(
    predictor: FilePredictor, items: Sequence[Item], output: Output, saver: Saver | None = None
) -> int:
    """Prints an answer for each item; what has none is answered with the reason.

    Args:
      predictor: predictor that judges files.
      items: items to be answered for.
      output: printer of the answers.
      saver: writer of what they rest on; None for nothing.

    Returns:
      The exit status: ANSWERED when every item has a score, INCOMPLETE when one has none (items
      that do not count left out), FAILED when one has none because the model or its server failed,
      or something unforeseen happened, as that the disk is full.
    """
    failed = missing = False
    output.begin()
    with ProgressLine(len(items)) as line:
        for item in items:
            line.begin(item.name)
            verdict, crops = _answered(predictor, item, line)
            if saver is not None:
                failed = not _saved(saver, item, verdict, crops, line) or failed
            line.done()
            output.add(verdict)
            failed = failed or verdict.failed
            missing = missing or (verdict.score is None and item.counts)
    output.end()
    if saver is not None and saver.without_heat_maps:
        print(f"note: {NO_HEAT_MAPS}", file=sys.stderr)
    return FAILED if failed else INCOMPLETE if missing else ANSWERED


def _saved(
    saver: Saver, item: Item, verdict: Verdict, crops: Sequence[Crop], line: ProgressLine
) -> bool:
    """Whether what the answer rests on could be written; where not, the reason is printed."""
    try:
        with quiet():
            saver.save(item, verdict, crops)
    except Exception as error:  # The answer stands, and so do those of other files.
        _LOG.debug("%s could not be saved", item.name, exc_info=True)
        line.clear()
        print(f"error: {printable(item.name)} could not be saved: {error}", file=sys.stderr)
        return False
    return True


def _answered(
    predictor: FilePredictor, item: Item, line: ProgressLine
) -> tuple[Verdict, list[Crop]]:
    if item.media is None:
        return Verdict(
            item.name, None, reason=item.reason, decision_rule=predictor.decision_rule
        ), []
    try:
        with quiet():
            return predictor.examine(item.media, item.name, line.frame)
    except Exception as error:  # Whatever one file does, the others are answered.
        _LOG.debug("%s failed", item.name, exc_info=True)
        reason = f"{type(error).__name__}: {error}"
        return Verdict(
            item.name, None, reason=reason, decision_rule=predictor.decision_rule, failed=True
        ), []
