"""Answers for files one after the other, for `deepfake predict`."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pipeline.inputs import INCOMPLETE
from pipeline.prediction.inputs import Item
from pipeline.prediction.output import Output
from pipeline.prediction.progress_line import ProgressLine
from preprocessing.support.quiet import quiet
from serving.model.predictor import FilePredictor
from serving.model.verdict import Verdict

_LOG = logging.getLogger(__name__)

ANSWERED, FAILED = 0, 1


def predict_items(predictor: FilePredictor, items: Sequence[Item], output: Output) -> int:
    """Prints an answer for each item; what has none is answered with the reason.

    Args:
      predictor: that judges files.
      items: to be answered for.
      output: prints the answers.

    Returns:
      The exit status: ANSWERED when every item has a score, INCOMPLETE when one has none (items
      that do not count left out), FAILED when one has none because the model or its server failed,
      or something unforeseen happened.
    """
    failed = missing = False
    output.begin()
    with ProgressLine(len(items)) as line:
        for item in items:
            line.begin(item.name)
            verdict = _answered(predictor, item, line)
            line.done()
            output.add(verdict)
            failed = failed or verdict.failed
            missing = missing or (verdict.score is None and item.counts)
    output.end()
    return FAILED if failed else INCOMPLETE if missing else ANSWERED


def _answered(predictor: FilePredictor, item: Item, line: ProgressLine) -> Verdict:
    if item.media is None:
        return Verdict(item.name, None, reason=item.reason, wording=predictor.wording)
    try:
        with quiet():
            return predictor.predict(item.media, item.name, line.frame)
    except Exception as error:  # Whatever one file does, the others are answered.
        _LOG.debug("%s failed", item.name, exc_info=True)
        return Verdict(
            item.name,
            None,
            reason=f"{type(error).__name__}: {error}",
            wording=predictor.wording,
            failed=True,
        )
