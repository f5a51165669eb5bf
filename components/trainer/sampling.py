"""The samplers of training: which crops a batch holds.

Three ways (`training.sampling`):

  paired    half real, half fake; every real crop stands beside a fake made from it.
  shuffled  all crops in a random order; the classes keep their shares of the data.
  weighted  as shuffled, but the rarer class weighs more, so that both weigh the same.

A pass shows each of its crops once. The order of a pass depends on the seed and on
the number of the pass alone, so a resumed training goes to any batch without replaying the ones
before it.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from components.trainer.config import TrainingConfig, needs_fakes
from components.trainer.crop_store import CropTable, missing_classes
from preprocessing.extraction.face_example import FAKE, REAL
from preprocessing.support.errors import UsageError

# How far apart the frames of a pair may be: in steps between the original's frames, and in frames,
# 12 of which are half a second of a film and less of a faster video.
_SHARE_OF_STEP = 0.5
_MAX_FRAME_GAP = 12


class Sampler(Protocol):
    """Decides the batches.

    Attributes:
      steps_per_pass: batches that one pass takes; a last one that is not full counts.
      paired: whether crops 2i and 2i + 1 of a batch are a pair.
      weights: float32 [2], sample weight of a real and of a fake crop; None where all are equal.
    """

    steps_per_pass: int
    paired: bool
    weights: np.ndarray | None

    def batches(self, start: int = 0) -> Iterator[np.ndarray]:
        """Yields for ever int64 [batch], from batch number `start` on.

        A number n >= 0 is crop n of the table; -1 - n is a pseudo-fake made of the real crop n.
        """
        ...


def build_sampler(table: CropTable, config: TrainingConfig, seed: int) -> Sampler:
    """The sampler that a configuration asks for.

    Args:
      table: the crops.
      config: `sampling`, `batch_size`, `pseudo_fakes` and `pseudo_fake_share` are read.
      seed: equal seeds give equal batches.

    Raises:
      UsageError: see `check_crops`.
    """
    check_crops(table, config)
    if config.sampling == "paired":
        return PairedSampler(table, config.batch_size, seed, pseudo_fake_share(config))
    return ShuffledSampler(table, config.batch_size, seed, config.sampling == "weighted")


def check_crops(table: CropTable, config: TrainingConfig) -> None:
    """Checks that training finds what it needs among the crops.

    Raises:
      UsageError: fewer crops than a batch, no real crop, or neither a fake crop nor pseudo-fakes
        for all pairs.
    """
    missing = missing_for_training(table, config)
    if missing:
        way_out = ""
        if missing == ["fake"]:
            way_out = (
                "; training.pseudo_fakes=self_blended with training.pseudo_fake_share=1 makes "
                "fakes of the real ones"
            )
        raise UsageError(
            f"none of the {len(table)} crops of the train split is {missing[0]}, and training "
            f"needs crops of both classes{way_out}"
        )
    crops = len(table) if needs_fakes(config) else 2 * int((table.labels == REAL).sum())
    if crops < config.batch_size:
        raise UsageError(
            f"training.batch_size: {config.batch_size} is more than the {crops} crops that there "
            "are to train on; lower it"
        )


def missing_for_training(table: CropTable, config: TrainingConfig) -> list[str]:
    """Classes that training needs and no crop has; pseudo-fakes can stand for `fake`."""
    missing = missing_classes(table)
    return [name for name in missing if name != "fake" or needs_fakes(config)]


def pseudo_fake_share(config: TrainingConfig) -> float:
    """Share of the pairs whose fake is a pseudo-fake; 0 where they are switched off."""
    return 0.0 if config.pseudo_fakes == "none" else config.pseudo_fake_share


class PairedSampler:
    """Batches of half real and half fake crops; a real crop stands beside its own fake.

    A pass shows every real crop once, beside one of the fakes made from it at the same moment,
    any of them with the same chance; a real crop without a fake stands beside some fake. Fakes
    whose original is not among the crops are shown once as well, beside some real crop. So the
    classes are equal, however unequal the data, and what differs within a pair is the manipulation.

    Args:
      table: the crops; both classes are there, or `share` is 1.
      batch_size: even; real and fake crops alternate.
      seed: equal seeds give equal batches.
      share: chance of a pair to get a pseudo-fake of its own real crop as its fake. With 1 the
        table's fakes are not used.

    Attributes: see `Sampler`.
    """

    paired = True
    weights: np.ndarray | None = None

    def __init__(self, table: CropTable, batch_size: int, seed: int, share: float = 0.0):
        self._half = batch_size // 2
        self._seed = seed
        self._share = share
        self._reals = np.flatnonzero(table.labels == REAL)
        self._fakes = np.flatnonzero(table.labels == FAKE)
        if share == 1.0:
            self._fakes = self._fakes[:0]
        partners = find_partners(table) if len(self._fakes) else {}
        # The fakes of the i-th real crop are _own_fakes[_first[i] : _first[i] + _count[i]].
        lists = [partners.get(real, []) for real in self._reals.tolist()]
        self._count = np.array([len(fakes_of_real) for fakes_of_real in lists], np.int64)
        self._first = np.cumsum(self._count) - self._count
        self._own_fakes = np.array(
            [fake for fakes_of_real in lists for fake in fakes_of_real], np.int64
        )
        self._unpaired_fakes = np.setdiff1d(self._fakes, self._own_fakes)
        self.steps_per_pass = math.ceil((len(self._reals) + len(self._unpaired_fakes)) / self._half)

    def batches(self, start: int = 0) -> Iterator[np.ndarray]:
        """See `Sampler`."""
        return _chunks(self._pass, len(self._reals) + len(self._unpaired_fakes), self._half, start)

    def _pass(self, number: int) -> np.ndarray:
        """int64 [pairs, 2]: the real and the fake crop of each pair of a pass."""
        rng = np.random.default_rng([self._seed, number])
        fakes = np.full(len(self._reals), -1)
        paired = self._count > 0
        picks = self._first + (rng.random(len(fakes)) * self._count).astype(np.int64)
        fakes[paired] = self._own_fakes[picks[paired]]
        if len(self._fakes):
            fakes[~paired] = _balanced_draws(self._fakes, int((~paired).sum()), rng)
        reals = np.concatenate(
            [self._reals, _balanced_draws(self._reals, len(self._unpaired_fakes), rng)]
        )
        fakes = np.concatenate([fakes, self._unpaired_fakes])
        pseudo = rng.random(len(reals)) < self._share
        pairs = np.stack([reals, np.where(pseudo, -1 - reals, fakes)], axis=1)
        return rng.permutation(pairs)


class ShuffledSampler:
    """Every crop once a pass, in a random order; no pairs.

    Args:
      table: the crops; both classes are there.
      batch_size: crops of a batch, even or odd.
      seed: equal seeds give equal batches.
      weighted: gives crops weights, so that both classes weigh the same in sum, and all crops 1
        on average.

    Attributes: see `Sampler`.
    """

    paired = False

    def __init__(self, table: CropTable, batch_size: int, seed: int, weighted: bool = False):
        self._crops = len(table)
        self._batch_size = batch_size
        self._seed = seed
        self.steps_per_pass = math.ceil(self._crops / batch_size)
        self.weights = None
        if weighted:
            counts = [np.sum(table.labels == label) for label in (REAL, FAKE)]
            self.weights = (self._crops / (2.0 * np.array(counts))).astype(np.float32)

    def batches(self, start: int = 0) -> Iterator[np.ndarray]:
        """See `Sampler`."""
        return _chunks(self._pass, self._crops, self._batch_size, start)

    def _pass(self, number: int) -> np.ndarray:
        return np.random.default_rng([self._seed, number]).permutation(self._crops)


def find_partners(table: CropTable) -> dict[int, list[int]]:
    """For each real crop the fakes made from it at the same moment, see `_moments`.

    Where the original's frame holds several faces, the one whose box is nearest is meant.

    Args:
      table: the crops.

    Returns:
      Numbers of fake crops by number of real crop; real crops without a fake are left out.
    """
    originals: dict[int, dict[int, list[int]]] = {}
    for number in np.flatnonzero(table.labels == REAL).tolist():
        by_frame = originals.setdefault(int(table.clips[number]), {})
        by_frame.setdefault(int(table.frames[number]), []).append(number)
    fakes: dict[int, list[int]] = {}
    for number in np.flatnonzero(table.labels == FAKE).tolist():
        fakes.setdefault(int(table.clips[number]), []).append(number)
    partners = collections.defaultdict(list)
    for numbers in fakes.values():
        by_frame = originals.get(int(table.pairs[numbers[0]]), {})
        moments = _moments(table.frames[numbers], np.array(list(by_frame), np.int64))
        for number in numbers:
            frame = moments.get(int(table.frames[number]))
            if frame is not None:
                candidates = by_frame[frame]
                distance = np.abs(table.boxes[candidates] - table.boxes[number]).sum(axis=1)
                partners[candidates[int(distance.argmin())]].append(number)
    return dict(partners)


def _moments(frames: np.ndarray, of_original: np.ndarray) -> dict[int, int]:
    """Frame of a fake -> frame of its original that shows the same moment.

    That is the one of the same number. Frames of each clip are chosen by themselves, so numbers
    differ a little as soon as one clip lacks a frame or is shorter: a frame without its equal goes
    with the original's nearest, at most `_SHARE_OF_STEP` of the usual step between the original's
    frames and `_MAX_FRAME_GAP` away. No frame of the original gets two of a fake.

    Args:
      frames: int64 [crops], the numbers of a fake's frames.
      of_original: int64 [frames], those of its original; empty for none.
    """
    if not len(of_original):
        return {}
    frames, of_original = np.unique(frames), np.unique(of_original)
    step = float(np.median(np.diff(of_original))) if len(of_original) > 1 else 0.0
    after = np.searchsorted(of_original, frames).clip(max=len(of_original) - 1)
    before = (after - 1).clip(min=0)
    to_before, to_after = (np.abs(of_original[side] - frames) for side in (before, after))
    nearest = of_original[np.where(to_before <= to_after, before, after)]
    distance = np.minimum(to_before, to_after)
    moments: dict[int, int] = {}
    taken: set[int] = set()
    for place in np.argsort(distance, kind="stable"):
        frame = int(nearest[place])
        if distance[place] <= min(_SHARE_OF_STEP * step, _MAX_FRAME_GAP) and frame not in taken:
            moments[int(frames[place])] = frame
            taken.add(frame)
    return moments


def _chunks(
    make_pass: Callable[[int], np.ndarray], length: int, size: int, start: int
) -> Iterator[np.ndarray]:
    """Cuts the endless row of passes into pieces of `size` rows, from piece `start` on.

    Pieces run on over the end of a pass, so nothing is left out.
    """
    number, begin = divmod(start * size, length)
    remaining = make_pass(number)[begin:]
    while True:
        while len(remaining) < size:
            number += 1
            remaining = np.concatenate([remaining, make_pass(number)])
        yield remaining[:size].reshape(-1)
        remaining = remaining[size:]


def _balanced_draws(numbers: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` draws of the numbers in a random order; each as often as the others, or once more."""
    rounds = math.ceil(count / len(numbers))
    rows = [rng.permutation(numbers) for _ in range(rounds)]
    return np.concatenate([np.empty(0, np.int64), *rows])[:count]
