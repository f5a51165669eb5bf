"""Divides clips into train, val and test.

As in:

    clips = assign(listing.clips, "identity", val_fraction=0.15, test_fraction=0.15, seed=1)

Protocols:
  official: the dataset's own lists. Where they have no val (no test, where that is asked for), it
    is carved out of train by identity (by clip, where train hangs together too closely for that).
    Clips that the lists leave out follow their kin, or are divided as in `identity`.
  identity: connected components of who is swapped with whom stay whole: no person, no target
    clip, no group and no content stands in two splits.
  clip: only a fake and its target clip, a group, and copies of one content stay together.

The division depends on the clips, the fractions and the seed alone: not on the order of the
listing, nor on the process.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from preprocessing.datasets.clip import SPLITS, Clip
from preprocessing.manifest.clusters import clusters
from preprocessing.support.errors import UsageError

# Up to so many clusters every division is tried: 3^7 are quickly done, and tiny sets are those
# that a greedy rule divides worst.
_EXHAUSTIVE = 7
# Up to so many clusters single moves improve on the greedy rule; with more it is near enough.
_POLISHED = 200


def assign(
    clips: Iterable[Clip],
    protocol: str,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    missing: Sequence[str] = ("val",),
) -> tuple[Clip, ...]:
    """Fills in `split` and `group` of every clip.

    Train gets both classes if at all possible; then val and test get a clip each; then both
    classes each. Beyond that the shares of each class and of each method come near the fractions.

    Args:
      clips: clips of one dataset, in any order.
      protocol: `official`, `identity` or `clip`.
      val_fraction: share of the clips that val aims at.
      test_fraction: share of the clips that test aims at.
      seed: chooses among equally good divisions.
      missing: which of val and test `official` carves out of train where the lists have none.

    Returns:
      The clips, sorted by path. `group` is the name of the cluster that stays together; only
      under `official` may a cluster stand in two splits, and `leaks.leaks` tells so.

    Raises:
      UsageError: fractions that leave nothing for training, an unknown protocol, or `official`
        for clips without official lists.
    """
    clips = sorted(clips, key=lambda clip: (clip.path, clip.label))
    if val_fraction + test_fraction >= 1 or min(val_fraction, test_fraction) < 0:
        raise UsageError(
            f"data.val_fraction={val_fraction} and data.test_fraction={test_fraction} leave "
            "nothing for training; both together must stay below 1"
        )
    shares = {"val": val_fraction, "test": test_fraction}
    shares = {"train": 1 - sum(shares.values()), **shares}
    names = clusters(clips, persons=protocol == "identity")
    if protocol == "official":
        splits = _official(clips, shares, seed, missing)
    elif protocol in ("identity", "clip"):
        division = _divide(clips, names, shares, seed)
        splits = [division[name] for name in names]
    else:
        raise UsageError(f"data.split={protocol} is not known; it may be official, identity, clip")
    return tuple(
        replace(clip, group=name, split=split)
        for clip, name, split in zip(clips, names, splits, strict=True)
    )


def _official(
    clips: Sequence[Clip], shares: Mapping[str, float], seed: int, missing: Sequence[str]
) -> list[str]:
    splits = [clip.official_split for clip in clips]
    if clips and not any(splits):
        raise UsageError(
            "data.split=official: the dataset has no official lists here; use data.split=identity, "
            "or put the lists where the dataset has them"
        )
    cluster_names = clusters(clips, persons=True)
    listed: dict[str, Counter[str]] = defaultdict(Counter)
    for name, split in zip(cluster_names, splits, strict=True):
        if split:
            listed[name][split] += 1
    for i, name in enumerate(cluster_names):
        if not splits[i] and name in listed:
            splits[i] = max(SPLITS, key=lambda split: listed[name][split])
    for split in missing:
        if split not in splits:
            _carve(clips, splits, split, shares[split], seed)
    rest = [i for i, split in enumerate(splits) if not split]
    division = _divide([clips[i] for i in rest], [cluster_names[i] for i in rest], shares, seed)
    for i in rest:
        splits[i] = division[cluster_names[i]]
    return splits


def _carve(
    clips: Sequence[Clip], splits: list[str], to: str, target_share: float, seed: int
) -> None:
    """Moves a part of train, in place: by identity, or by clip if `to` gets more classes so."""
    pool = [i for i, split in enumerate(splits) if split == "train"]
    if not pool:
        return
    members = [clips[i] for i in pool]
    share = min(0.5, target_share * len(clips) / len(pool))
    candidates = []
    for persons in (True, False):
        names = clusters(members, persons)
        division = _divide(members, names, {"train": 1 - share, to: share}, seed)
        candidates.append([division[name] for name in names])
    best = max(candidates, key=lambda splits: len(_classes(members, splits, to)))
    for i, split in zip(pool, best, strict=True):
        splits[i] = split


def _classes(clips: Sequence[Clip], splits: Sequence[str], split: str) -> set[int]:
    return {
        clip.label for clip, clip_split in zip(clips, splits, strict=True) if clip_split == split
    }


class _Division:
    """Clusters on their way into splits, with what each split holds so far."""

    def __init__(self, clips: Sequence[Clip], names: Sequence[str], shares: Mapping[str, float]):
        self.shares = shares
        self.clusters: dict[str, Counter[str]] = defaultdict(Counter)
        for clip, name in zip(clips, names, strict=True):
            # Class and method each count, so that real clips weigh as much as all fakes.
            self.clusters[name].update(("clips", f"label {clip.label}", f"method {clip.method}"))
        self.total: Counter[str] = sum(self.clusters.values(), Counter())
        self.labels = [stratum for stratum in self.total if stratum.startswith("label ")]
        self.held: dict[str, Counter[str]] = {split: Counter() for split in shares}
        self.placed: Counter[str] = Counter()
        self.split_of: dict[str, str] = {}

    def place(self, name: str, split: str) -> None:
        """Puts a cluster into a split, out of the one where it is."""
        if name in self.split_of:
            self.held[self.split_of[name]].subtract(self.clusters[name])
        else:
            self.placed.update(self.clusters[name])
        self.held[split].update(self.clusters[name])
        self.split_of[name] = split

    def cost(self, name: str, split: str) -> float:
        """How much the squared distance from the aimed-at shares grows with a cluster more.

        The shares are those of what is placed by then: measured on the whole, train would take
        nearly all of the big clusters, since it lacks most at first.
        """
        return sum(
            n
            * (2 * (self.held[split][s] - self.shares[split] * (self.placed[s] + n)) + n)
            / self.total[s] ** 2
            for s, n in self.clusters[name].items()
        )

    def faults(self) -> tuple[int, int, int, int]:
        """What training cannot do without, the worst first; all zeros when it has everything."""
        missing = {
            split: sum(not held[label] for label in self.labels)
            for split, held in self.held.items()
        }
        empty = sum(n == len(self.labels) for n in missing.values())
        return missing["train"], empty, sum(missing.values()), missing.get("test", 0)

    def score(self) -> tuple[tuple[int, ...], float]:
        """Faults, and the squared distance of all strata from the shares; less is better."""
        distance = sum(
            (held[s] / n - self.shares[split]) ** 2
            for split, held in self.held.items()
            for s, n in self.total.items()
        )
        return self.faults(), round(distance, 9)


def _divide(
    clips: Sequence[Clip], names: Sequence[str], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Cluster -> split. Big clusters come first; those of like size in an order of the seed's."""
    division = _Division(clips, names, shares)
    size = Counter(names)
    order = sorted(division.clusters, key=lambda n: (-size[n].bit_length(), _rank(seed, n)))
    if len(order) <= _EXHAUSTIVE:
        return _best_of_all(division, order)
    for name in order:
        division.place(name, min(shares, key=lambda split: division.cost(name, split)))
    _mend(division, order)
    return division.split_of


def _best_of_all(division: _Division, order: Sequence[str]) -> dict[str, str]:
    best = None
    for splits in itertools.product(division.shares, repeat=len(order)):
        for name, split in zip(order, splits, strict=True):
            if division.split_of.get(name) != split:
                division.place(name, split)
        score = division.score()
        if best is None or score < best[0]:
            best = (score, splits)
    return dict(zip(order, best[1], strict=True)) if best else {}


def _mend(division: _Division, order: Sequence[str]) -> None:
    """Moves single clusters as long as that helps; in big sets, only against faults."""
    while len(order) <= _POLISHED or any(division.faults()):
        best = division.score()
        move = None
        for name in order:
            home = division.split_of[name]
            for split in division.shares:
                division.place(name, split)
                score = division.score()
                if score < best:
                    best, move = score, (name, split)
            division.place(name, home)
        if move is None:
            return
        division.place(*move)


def _rank(seed: int, name: str) -> str:
    """A number that depends on seed and name alone (Python's own hash changes by process)."""
    return hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).hexdigest()
