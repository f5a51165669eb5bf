"""Real clips of which a part is forged, put together from scored crops, for `benchmarks.verdicts`.

A fake of the demo has the camera path of its original, so that frames of equal number differ in
nothing but the forgery. A spliced clip has the logits of its original and, in a run of frames,
those of its fake; the seams that an encoder would leave are not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from benchmarks._harness import Figure
from components.evaluation.scores import clusters_of
from preprocessing.extraction import face_example as names
from serving.model.windows import (
    CropPositions,
    WindowClips,
    find_segments,
    least_crops,
    window_clips,
    window_maxima,
)

# Shares of a clip's frames that are forged.
_SHARES = (0.2, 0.4)
# Where they begin, as a share of the frames that are not forged: at the start, middle and end.
_PLACES = (0.0, 0.5, 1.0)
# Of real clips that may have a segment: the demo's val has no persons enough to show less.
_RATE = 0.05


class Pair(NamedTuple):
    """A fake and its original, on the frames that both have a face in.

    Attributes:
      real: float [frames], logits of the original.
      fake: float [frames], of the fake.
      frames: int [frames], their numbers, rising.
      seconds: float [frames], their times.
    """

    real: np.ndarray
    fake: np.ndarray
    frames: np.ndarray
    seconds: np.ndarray

    def spliced(self, share: float, place: float) -> tuple[np.ndarray, int, int]:
        """Logits of the original with a forged part, and the first and last frame of the part."""
        count = len(self.frames)
        length = max(1, round(share * count))
        first = round(place * (count - length))
        logits = self.real.copy()
        logits[first : first + length] = self.fake[first : first + length]
        return logits, first, first + length - 1

    def time(self, first: int, last: int) -> tuple[float, float]:
        """When a run of frames begins and ends, in seconds, as the frames stand in the film."""
        half = float(np.median(np.diff(self.seconds))) / 2
        return max(0.0, float(self.seconds[first]) - half), float(self.seconds[last]) + half


def spliced_figures(val: pd.DataFrame, test: pd.DataFrame, frames: int) -> dict[str, Figure]:
    """How well spliced clips are told from real ones, and how well their parts are found.

    Args:
      val: scored crops of validation, as `ExampleScorer.table` has them, among whose real clips the
        windows of a clip are ranked.
      test: likewise, of persons that neither training nor validation has.
      frames: that are looked at of a clip.

    Returns:
      The AUC of whole fakes by the clip's score; for each share of forged frames the AUC by the
      clip's score and by the largest window mean, over that of whole fakes; and the share of
      spliced clips with a segment whose temporal intersection over union with the forged part is a
      half or more.
    """
    windows = _windows(val, least_crops(frames))
    pairs = list(_pairs(test, windows.least_crops))
    reals = [pair.real for pair in pairs]
    whole = _auc(reals, [pair.fake for pair in pairs], np.mean)
    figures = {
        "spliced_pairs": Figure(len(pairs)),
        "spliced_auc_of_whole_fakes": Figure(whole),
    }
    for share in _SHARES:
        spliced, overlaps = [], []
        for pair in pairs:
            for place in _PLACES:
                logits, first, last = pair.spliced(share, place)
                spliced.append(logits)
                overlaps.append(_overlap(windows, pair, logits, pair.time(first, last)))
        name = f"spliced_{share:.0%}".replace("%", "_percent")
        figures[f"{name}_score_auc_over_whole"] = Figure(_auc(reals, spliced, np.mean) / whole)
        by_windows = _auc(reals, spliced, lambda logits: _largest(logits, windows)) / whole
        figures[f"{name}_window_auc_over_whole"] = Figure(by_windows, ">= 0.9")
        share_found = float(np.mean(np.array(overlaps) >= 0.5))
        figures[f"{name}_segments_found"] = Figure(share_found, ">= 0.8")
    with_segment = [bool(_segments(windows, pair, pair.real)) for pair in pairs]
    figures["spliced_reals_with_segment"] = Figure(float(np.mean(with_segment)))
    return figures


def _windows(val: pd.DataFrame, least: int) -> WindowClips:
    clips = val[names.CLIP_ID].to_numpy(str)
    maxima = window_maxima(
        val["logit"].to_numpy(float), clips, val[names.TRACK_ID].to_numpy(int), least=least
    )
    # In the order of `maxima`.
    first = val.groupby(names.CLIP_ID, sort=True).first().reset_index()
    values = window_clips(maxima, first[names.LABEL].to_numpy(int), clusters_of(first), least)
    if values is None:
        raise RuntimeError("no real clip of val has windows")
    return WindowClips.from_dict(values)


def _pairs(test: pd.DataFrame, least: int) -> Iterator[Pair]:
    """The fakes with their originals that share frames enough for windows."""
    crops = test.drop_duplicates([names.CLIP_ID, names.FRAME_INDEX])
    by_clip = {str(clip): rows for clip, rows in crops.groupby(names.CLIP_ID, sort=True)}
    for rows in by_clip.values():
        original = by_clip.get(str(rows[names.PAIR_ID].iloc[0]))
        if original is None or rows[names.LABEL].iloc[0] == 0:
            continue
        both = original.merge(rows, on=names.FRAME_INDEX, suffixes=("", "_fake"))
        both = both.sort_values(names.FRAME_INDEX)
        if len(both) >= max(2, least):
            yield Pair(
                both["logit"].to_numpy(float),
                both["logit_fake"].to_numpy(float),
                both[names.FRAME_INDEX].to_numpy(int),
                both[names.TIMESTAMP_MS].to_numpy(float) / 1000,
            )


def _auc(
    reals: list[np.ndarray], fakes: list[np.ndarray], score: Callable[[np.ndarray], float]
) -> float:
    labels = np.repeat([0, 1], [len(reals), len(fakes)])
    return float(roc_auc_score(labels, [score(logits) for logits in (*reals, *fakes)]))


def _largest(logits: np.ndarray, windows: WindowClips) -> float:
    nothing = np.zeros(len(logits), int)
    return float(window_maxima(logits, nothing, nothing, windows.share)[0])


def _segments(windows: WindowClips, pair: Pair, logits: np.ndarray) -> list[tuple[float, float]]:
    tracks = np.zeros(len(logits), int)
    answer = find_segments(windows, logits, CropPositions(tracks, pair.frames, pair.seconds), _RATE)
    segments = answer.segments if answer else ()
    return [(part.start or 0.0, part.end or 0.0) for part in segments]


def _overlap(
    windows: WindowClips, pair: Pair, logits: np.ndarray, truth: tuple[float, float]
) -> float:
    """The best temporal intersection over union of a segment with the forged part; 0 without."""
    shares = [
        max(0.0, min(end, truth[1]) - max(start, truth[0]))
        / (max(end, truth[1]) - min(start, truth[0]))
        for start, end in _segments(windows, pair, logits)
    ]
    return max(shares, default=0.0)
