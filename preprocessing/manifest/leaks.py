"""Leaks between train, val and test, reported in sentences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from preprocessing.datasets.clip import FAKE, Clip, printable
from preprocessing.manifest.clusters import EMPTY_SHA256


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
        kinds: list[tuple[Sequence[str | tuple[str, ...]], str]] = [
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
        lines = [
            f"{len(members)} {text}: {_examples(members)}" for members, text in kinds if members
        ]
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
        divided_groups=_sorted(name for name, splits in groups.items() if len(splits) > 1),
        copies=_copies(contents, lambda clip: clip.split),
        contradictions=_copies(contents, lambda clip: clip.label),
        unknown_persons=sum(not clip.identities for clip in clips),
    )


def _copies(
    contents: Mapping[str, Sequence[Clip]], differing: Callable[[Clip], object]
) -> tuple[tuple[str, ...], ...]:
    return tuple(
        tuple(clip.path for clip in copies)
        for copies in contents.values()
        if len({differing(clip) for clip in copies}) > 1
    )


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: (len(name), name)))


def _examples(members: Sequence[str | tuple[str, ...]], limit: int = 3) -> str:
    examples = [
        printable(member) if isinstance(member, str) else " = ".join(map(printable, member))
        for member in members[:limit]
    ]
    return ", ".join(examples) + (", ..." if len(members) > limit else "")
