"""Clusters of clips that share something, and so stay together when clips are divided."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterator, Sequence

from preprocessing.datasets.clip import Clip

# Empty files all have this hash, and have no content in common.
EMPTY_SHA256 = hashlib.sha256().hexdigest()


class _Kind(enum.Enum):
    """What a tie between clips is; ties of two kinds with the same text are not the same."""

    CLIP = enum.auto()
    GROUP = enum.auto()
    CONTENT = enum.auto()
    PERSON = enum.auto()


_Node = tuple[_Kind, str]


def clusters(clips: Sequence[Clip], persons: bool) -> list[str]:
    """Names the cluster of each clip: what must stay together.

    Args:
      clips: clips of one dataset.
      persons: whether clips that share a person belong together.

    Returns:
      A name for each clip, equal where two clips hang together: the first of the cluster's
      persons when `persons` and any is known, else of the layouts' groups, else of its paths.
    """
    parent: dict[_Node, _Node] = {}

    def find(node: _Node) -> _Node:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    for clip in clips:
        for tie in _ties(clip, persons):
            parent[find(tie)] = find((_Kind.CLIP, clip.path))
    names: dict[_Node, tuple[int, int, str]] = {}
    for clip in clips:
        root = find((_Kind.CLIP, clip.path))
        candidates = [(1, 0, clip.group)] if clip.group else [(2, 0, clip.path)]
        if persons:  # The length comes first so that id2 stands before id10.
            candidates += [(0, len(person), person) for person in clip.identities]
        names[root] = min([*candidates, names.get(root, candidates[0])])
    return [names[find((_Kind.CLIP, clip.path))][-1] for clip in clips]


def _ties(clip: Clip, persons: bool) -> Iterator[_Node]:
    """What a clip shares with the clips that it belongs to."""
    if clip.source:
        yield _Kind.CLIP, clip.source
    if clip.group:
        yield _Kind.GROUP, clip.group
    if clip.sha256 not in ("", EMPTY_SHA256):
        yield _Kind.CONTENT, clip.sha256
    if persons:
        for person in clip.identities:
            yield _Kind.PERSON, person
