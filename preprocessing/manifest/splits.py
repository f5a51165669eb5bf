"""Divides clips into train, val and test, and tells what leaks between them.

As in:

    clips = assign(listing.clips, "identity", val_fraction=0.15, test_fraction=0.15, seed=1)
    print(leaks(clips))

Protocols:
  official: the dataset's own lists. Where they have no val, it is carved out of train by identity
    (by clip, where train hangs together too closely for that). Clips that the lists leave out
    follow their kin, or are divided as in `identity`.
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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from preprocessing.datasets.clip import FAKE, SPLITS, Clip, printable
from preprocessing.support.errors import UsageError

# Empty files all have this hash, and have no content in common.
EMPTY_SHA256 = hashlib.sha256().hexdigest()
# Up to so many clusters every division is tried: 3^7 are quickly done, and tiny sets are those
# that a greedy rule divides worst.
_EXHAUSTIVE = 7
# Up to so many clusters single moves improve on the greedy rule; with more it is near enough.
_POLISHED = 200


def assign(
    clips: Iterable[Clip], protocol: str, val_fraction: float, test_fraction: float, seed: int
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

    Returns:
      The clips, sorted by path. `group` is the name of the cluster that stays together; only
      under `official` may a cluster stand in two splits, and `leaks` tells so.

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
        splits = _official(clips, shares, seed)
    elif protocol in ("identity", "clip"):
        division = _divide(clips, names, shares, seed)
        splits = [division[name] for name in names]
    else:
        raise UsageError(f"data.split={protocol} is not known; it may be official, identity, clip")
    return tuple(
        replace(clip, group=name, split=split)
        for clip, name, split in zip(clips, names, splits, strict=True)
    )


def clusters(clips: Sequence[Clip], persons: bool) -> list[str]:
    """Names the cluster of each clip: what must stay together.

    Args:
      clips: clips of one dataset.
      persons: whether clips that share a person belong together.

    Returns:
      A name for each clip, equal where two clips hang together: the first of the cluster's
      persons when `persons` and any is known, else of the layouts' groups, else of its paths.
    """
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def find(node: tuple[str, str]) -> tuple[str, str]:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    for clip in clips:
        for tie in _ties(clip, persons):
            parent[find(tie)] = find(("clip", clip.path))
    names: dict[tuple[str, str], tuple[int, int, str]] = {}
    for clip in clips:
        root = find(("clip", clip.path))
        candidates = [(1, 0, clip.group)] if clip.group else [(2, 0, clip.path)]
        if persons:  # The length comes first so that id2 stands before id10.
            candidates += [(0, len(person), person) for person in clip.identities]
        names[root] = min([*candidates, names.get(root, candidates[0])])
    return [names[find(("clip", clip.path))][-1] for clip in clips]


def _ties(clip: Clip, persons: bool) -> Iterator[tuple[str, str]]:
    """What a clip shares with the clips that it belongs to."""
    if clip.source:
        yield "clip", clip.source
    if clip.group:
        yield "group", clip.group
    if clip.sha256 not in ("", EMPTY_SHA256):
        yield "content", clip.sha256
    if persons:
        for person in clip.identities:
            yield "person", person


def _official(clips: Sequence[Clip], shares: Mapping[str, float], seed: int) -> list[str]:
    splits = [clip.official_split for clip in clips]
    if clips and not any(splits):
        raise UsageError(
            "data.split=official: the dataset has no official lists here; use data.split=identity, "
            "or put the lists where the dataset has them"
        )
    kin = clusters(clips, persons=True)
    listed: dict[str, Counter[str]] = defaultdict(Counter)
    for name, split in zip(kin, splits, strict=True):
        if split:
            listed[name][split] += 1
    for i, name in enumerate(kin):
        if not splits[i] and name in listed:
            splits[i] = max(SPLITS, key=lambda split: listed[name][split])
    if "val" not in splits:
        _carve_val(clips, splits, shares["val"], seed)
    rest = [i for i, split in enumerate(splits) if not split]
    division = _divide([clips[i] for i in rest], [kin[i] for i in rest], shares, seed)
    for i in rest:
        splits[i] = division[kin[i]]
    return splits


def _carve_val(clips: Sequence[Clip], splits: list[str], val_share: float, seed: int) -> None:
    """Moves a part of train to val, in place: by identity, or by clip if val gets more classes."""
    pool = [i for i, split in enumerate(splits) if split == "train"]
    if not pool:
        return
    members = [clips[i] for i in pool]
    share = min(0.5, val_share * len(clips) / len(pool))
    carved = []
    for persons in (True, False):
        names = clusters(members, persons)
        division = _divide(members, names, {"train": 1 - share, "val": share}, seed)
        carved.append([division[name] for name in names])
    best = max(carved, key=lambda splits: len(_classes(members, splits, "val")))
    for i, split in zip(pool, best, strict=True):
        splits[i] = split


def _classes(clips: Sequence[Clip], splits: Sequence[str], split: str) -> set[int]:
    return {clip.label for clip, where in zip(clips, splits, strict=True) if where == split}


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
        self.held = {split: Counter() for split in shares}
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


@dataclass(frozen=True)
class LeakReport:
    """What of the test split a model may have seen; train and val together are its pool.

    Attributes:
      test_identities: number of known persons in test.
      shared_identities: persons both in test and in the pool.
      train_val_identities: persons both in train and in val.
      test_fakes: number of fakes in test.
      test_fakes_of_pool_clips: fakes in test whose target clip is in the pool.
      pool_fakes_of_test_clips: fakes in the pool whose target clip is in test.
      divided_groups: groups that stand in several splits.
      copies: paths of equal content, in several splits.
      contradictions: paths of equal content with different labels, whatever their splits.
      unknown_persons: number of clips whose persons are unknown, who may stand in several splits.
    """

    test_identities: int
    shared_identities: tuple[str, ...]
    train_val_identities: tuple[str, ...]
    test_fakes: int
    test_fakes_of_pool_clips: tuple[str, ...]
    pool_fakes_of_test_clips: tuple[str, ...]
    divided_groups: tuple[str, ...]
    copies: tuple[tuple[str, ...], ...]
    contradictions: tuple[tuple[str, ...], ...]
    unknown_persons: int

    @property
    def clean(self) -> bool:
        """Whether nothing leaks and no label contradicts another."""
        return not any(value for value in vars(self).values() if isinstance(value, tuple))

    def lines(self) -> list[str]:
        """The report in sentences, one for each kind of leak that was found."""
        found = [
            (
                self.shared_identities,
                f"of {self.test_identities} test identities are also in train or val",
            ),
            (self.train_val_identities, "identities are both in train and in val"),
            (
                self.test_fakes_of_pool_clips,
                f"of {self.test_fakes} test fakes have their target clip in train or val",
            ),
            (
                self.pool_fakes_of_test_clips,
                "fakes in train or val were made from real clips in test",
            ),
            (self.divided_groups, "groups (a clip, its frames, its fakes) stand in several splits"),
            (self.copies, "contents stand in several splits under different names"),
            (self.contradictions, "contents are labelled both real and fake"),
        ]
        lines = [f"{len(what)} {text}: {_examples(what)}" for what, text in found if what]
        if self.clean:
            lines.append("no leak: no known person, target clip, group or content in two splits")
        if self.unknown_persons:
            lines.append(f"{self.unknown_persons} clips do not tell their persons, who may leak")
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())


def leaks(clips: Iterable[Clip]) -> LeakReport:
    """Computes what clips of different splits have in common."""
    clips = sorted(clips, key=lambda clip: (clip.path, clip.label))
    split_of = {clip.path: clip.split for clip in clips}
    persons: dict[str, set[str]] = defaultdict(set)
    groups: dict[str, set[str]] = defaultdict(set)
    contents: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        persons[clip.split].update(clip.identities)
        if clip.group:
            groups[clip.group].add(clip.split)
        if clip.sha256 not in ("", EMPTY_SHA256):
            contents[clip.sha256].append(clip)
    pool = ("train", "val")
    fakes = [(c.path, c.split, split_of.get(c.source, "")) for c in clips if c.label == FAKE]
    return LeakReport(
        test_identities=len(persons["test"]),
        shared_identities=_sorted(persons["test"] & (persons["train"] | persons["val"])),
        train_val_identities=_sorted(persons["train"] & persons["val"]),
        test_fakes=sum(split == "test" for _, split, _ in fakes),
        test_fakes_of_pool_clips=tuple(p for p, s, o in fakes if s == "test" and o in pool),
        pool_fakes_of_test_clips=tuple(p for p, s, o in fakes if s in pool and o == "test"),
        divided_groups=_sorted(name for name, where in groups.items() if len(where) > 1),
        copies=_copies(contents, lambda clip: clip.split),
        contradictions=_copies(contents, lambda clip: clip.label),
        unknown_persons=sum(not clip.identities for clip in clips),
    )


def _copies(
    contents: Mapping[str, Sequence[Clip]], differing: Callable[[Clip], object]
) -> tuple[tuple[str, ...], ...]:
    return tuple(
        tuple(clip.path for clip in same)
        for same in contents.values()
        if len({differing(clip) for clip in same}) > 1
    )


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: (len(name), name)))


def _examples(what: Sequence[str | tuple[str, ...]], limit: int = 3) -> str:
    shown = [
        printable(one) if isinstance(one, str) else " = ".join(map(printable, one))
        for one in what[:limit]
    ]
    return ", ".join(shown) + (", ..." if len(what) > limit else "")
