"""Which crops stand together in a batch."""

from __future__ import annotations

import collections
from collections.abc import Iterator

import numpy as np

from components.trainer.crop_store import CropTable
from preprocessing.face_example import FAKE, REAL


class BalancedSampler:
    """Batches of half real and half fake crops; a real crop stands beside its own fake.

    A pass shows every real crop once, beside one of the fakes made from it at the same frame, any
    of them with the same chance; a real crop without a fake stands beside some fake. Fakes whose
    original is not among the crops are shown once as well, beside some real crop. So the classes
    are equal, however unequal the data, and what differs within a pair is the manipulation.

    Args:
      table: the crops; both classes are there.
      batch_size: even.
      seed: equal seeds give equal batches.

    Attributes:
      partners: for each real crop's number the numbers of its fakes (none: no key).
      steps_per_pass: batches that one pass takes, at least 1.
    """

    def __init__(self, table: CropTable, batch_size: int, seed: int):
        self._half = batch_size // 2
        self._seed = seed
        self._reals = np.flatnonzero(table.labels == REAL)
        self._fakes = np.flatnonzero(table.labels == FAKE)
        self.partners = find_partners(table)
        paired = {fake for fakes in self.partners.values() for fake in fakes}
        lone = [fake for fake in self._fakes if fake not in paired]
        self._units = np.concatenate([self._reals, np.array(lone, np.int64)])
        self._is_fake = table.labels == FAKE
        self.steps_per_pass = max(1, round(len(self._units) / self._half))

    def batches(self, start: int = 0) -> Iterator[np.ndarray]:
        """Yields for ever int64 [batch_size]: the real crops, then in the same order the fakes.

        Args:
          start: number of the first batch; those before it are skipped.
        """
        pairs = self._pairs(np.random.default_rng(self._seed))
        for _ in range(start * self._half):
            next(pairs)
        while True:
            batch = np.array([next(pairs) for _ in range(self._half)], np.int64)
            yield batch.T.reshape(-1)

    def _pairs(self, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
        reals, fakes = _cycle(self._reals, rng), _cycle(self._fakes, rng)
        for unit in _cycle(self._units, rng):
            if self._is_fake[unit]:
                yield next(reals), unit
            elif unit in self.partners:
                yield unit, rng.choice(self.partners[unit])
            else:
                yield unit, next(fakes)


def find_partners(table: CropTable) -> dict[int, list[int]]:
    """For each real crop the fakes made from it at the same frame.

    Where the original's frame holds several faces, the one whose box is nearest is meant.

    Args:
      table: the crops.

    Returns:
      Numbers of fake crops by number of real crop; real crops without a fake are left out.
    """
    originals = collections.defaultdict(list)
    for number in np.flatnonzero(table.labels == REAL):
        originals[table.clips[number], table.frames[number]].append(number)
    partners = collections.defaultdict(list)
    for number in np.flatnonzero(table.labels == FAKE):
        candidates = originals.get((table.pairs[number], table.frames[number]))
        if candidates:
            distance = np.abs(table.boxes[candidates] - table.boxes[number]).sum(axis=1)
            partners[int(candidates[int(distance.argmin())])].append(int(number))
    return dict(partners)


def _cycle(numbers: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    """All numbers in a random order, again and again, each time in another."""
    while True:
        yield from rng.permutation(numbers)
