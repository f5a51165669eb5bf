"""Which faces are kept: shares within shots, boundaries, the three policies, the account."""

import dataclasses

import pytest

from preprocessing.faces import quality
from preprocessing.faces.crop_settings import ALL, ANSWER, TRAINING
from preprocessing.faces.face_selection import (
    BYSTANDER,
    OUTSIDE,
    TOO_SHORT,
    FaceCounts,
    FoundFace,
    by_reason,
    select,
)


@dataclasses.dataclass(frozen=True)
class Crop:
    """Stands in for a crop: selection never looks into one."""

    track: int
    frame: int


def faces(track, frames, shot=0, size=100.0, reason="", cut=True):
    return [
        FoundFace(frame, shot, track, size, Crop(track, frame) if cut else None, reason)
        for frame in frames
    ]


def selected(found, shot_frames, policy=TRAINING, share=0.2, relative=0.4):
    kept, dropped, note = select(found, shot_frames, share, relative, policy)
    assert len(kept) + sum(dropped.values()) == len(found)
    return sorted({crop.track for crop in kept}), dropped, note


@pytest.mark.parametrize(
    ("found", "in_shot", "elsewhere", "kept"),
    [
        (2, 10, 0, True),  # A share of exactly 0.2.
        (1, 10, 0, False),
        (6, 32, 0, False),
        (7, 32, 0, True),
        # The shot's frames count, not the clip's.
        (2, 8, 24, True),
        (1, 8, 24, False),
        # Short shots count as six frames, so that one face in a long clip is no track.
        (1, 1, 31, False),
        (1, 5, 1, False),
        (2, 2, 30, True),
        # Unless the clip itself is shorter.
        (1, 5, 0, True),
        (1, 1, 4, True),
        (1, 1, 0, True),
    ],
)
def test_share_of_a_track_in_its_shot(found, in_shot, elsewhere, kept):
    shots = {0: in_shot, **({1: elsewhere} if elsewhere else {})}
    tracks, dropped, note = selected(faces(3, range(found)), shots)
    assert tracks == ([3] if kept else [])
    assert dropped == ({} if kept else {TOO_SHORT: found})
    assert not note


@pytest.mark.parametrize(("size", "kept"), [(40.0, True), (39.9, False)])
def test_size_against_the_largest_of_the_shot(size, kept):
    found = [*faces(0, range(6)), *faces(1, range(6), size=size)]
    tracks, dropped, _ = selected(found, {0: 6})
    assert tracks == ([0, 1] if kept else [0])
    assert dropped == ({} if kept else {BYSTANDER: 6})


def test_size_is_compared_within_the_shot():
    close, wide = faces(0, range(6)), faces(1, range(6, 12), shot=1, size=30.0)
    assert selected(close + wide, {0: 6, 1: 6}) == ([0, 1], {}, "")


def test_the_median_size_of_a_track_counts_and_short_tracks_do_not():
    sizes = [30.0, 30.0, 30.0, 50.0, 50.0, 50.0, 50.0]
    second = [f for i, s in enumerate(sizes) for f in faces(1, [i], size=s)]
    short = faces(2, [0], size=500.0)
    found = [*faces(0, range(10)), *second, *short]
    assert selected(found, {0: 10})[:2] == ([0, 1], {TOO_SHORT: 1})


def test_the_quality_filter_comes_first_and_its_faces_lengthen_the_track():
    found = [*faces(0, [0]), *faces(0, [1], reason=quality.BLURRED)]
    kept, dropped, _ = selected(found, {0: 10})
    assert (kept, dropped) == ([0], {quality.BLURRED: 1})


def test_training_leaves_out_what_an_answer_judges():
    found = [*faces(0, [3]), *faces(1, [5], reason=quality.BLURRED)]
    assert selected(found, {0: 32})[:2] == ([], {TOO_SHORT: 1, quality.BLURRED: 1})
    tracks, dropped, note = selected(found, {0: 32}, ANSWER)
    assert (tracks, dropped) == ([0], {quality.BLURRED: 1})
    assert note == (
        "Each of the 2 faces found would be left out (1 too little detail, 1 track too short); "
        "the score rests on 1 of them, in 1 of 32 frames"
    )


def test_an_answer_with_some_faces_is_that_of_training():
    found = [*faces(0, range(9)), *faces(1, [3]), *faces(2, range(9), size=10.0)]
    assert selected(found, {0: 9}, ANSWER) == selected(found, {0: 9}, TRAINING)


@pytest.mark.parametrize(
    ("milder", "worse"),
    [
        (TOO_SHORT, quality.TURNED_AWAY),
        (quality.TURNED_AWAY, quality.TOO_SMALL),
        (quality.TOO_SMALL, quality.BLURRED),
        (quality.BLURRED, quality.TOO_UNSURE),
    ],
)
def test_the_mildest_reason_gives_way_first(milder, worse):
    first = "" if milder == TOO_SHORT else milder
    found = [*faces(4, [0], reason=first), *faces(5, [1], reason=worse)]
    assert selected(found, {0: 32}, ANSWER)[:2] == ([4], {worse: 1})


def test_faces_that_cannot_be_cut_out_are_never_judged():
    found = faces(0, range(4), reason=OUTSIDE, cut=False)
    for policy in (TRAINING, ANSWER, ALL):
        assert selected(found, {0: 4}, policy) == ([], {OUTSIDE: 4}, "")
    assert selected([], {0: 4}, ANSWER) == ([], {}, "")


def test_all_is_all():
    found = [
        *faces(0, range(9)),
        *faces(1, [3]),
        *faces(2, range(9), size=10.0),
        *faces(3, [1], reason=quality.TOO_UNSURE),
        *faces(4, [2], reason=OUTSIDE, cut=False),
    ]
    assert selected(found, {0: 9}, ALL) == ([0, 1, 2, 3], {OUTSIDE: 1}, "")


def test_unknown_policies_are_refused():
    with pytest.raises(ValueError, match="policy is 'most'; it must be one of training, answer"):
        select([], {}, 0.2, 0.4, "most")


def test_why_no_face_was_kept():
    assert FaceCounts(frames=3).why_none() == "no face"
    assert FaceCounts(frames=3, faces=2, crops=2).why_none() == ""
    left = FaceCounts(frames=3, faces=4, dropped={OUTSIDE: 1, TOO_SHORT: 3})
    assert left.why_none() == (
        "none of the 4 faces found was kept (3 track too short, 1 outside the frame)"
    )
    single = FaceCounts(frames=3, faces=1, dropped={OUTSIDE: 1})
    assert single.why_none() == "the 1 face found was not kept (1 outside the frame)"


def test_reasons_are_ordered_by_number_then_name():
    assert by_reason({"b": 2, "a": 2, "c": 5}) == "5 c, 2 a, 2 b"
