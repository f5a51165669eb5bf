"""Which faces are marked in which frames."""

import numpy as np
import pytest

from serving.pictures.marks import JudgedFace, Marks


def face(frame: int, left: float = 0.0, track: int = 0, score: float = 0.5) -> JudgedFace:
    return JudgedFace(frame, track, np.array([left, 0.0, left + 10.0, 10.0]), score, b"")


def test_between_judged_frames_boxes_move_in_a_straight_line_and_scores_are_the_nearest():
    marks = Marks([face(10, 0.0, score=0.2), face(20, 40.0, score=0.8)], spacing=10)
    (mark,) = marks.at(14)
    assert mark.box == pytest.approx([16.0, 0.0, 26.0, 10.0])
    assert mark.score == 0.2
    (mark,) = marks.at(16)
    assert mark.box[0] == pytest.approx(24.0)
    assert mark.score == 0.8


def test_judged_frames_have_their_own_box_and_score():
    marks = Marks([face(10, 0.0, score=0.2), face(20, 40.0, score=0.8)], spacing=10)
    assert [marks.at(frame)[0].score for frame in (10, 20)] == [0.2, 0.8]
    assert [marks.at(frame)[0].box[0] for frame in (10, 20)] == [0.0, 40.0]


@pytest.mark.parametrize(("frame", "marked"), [(4, False), (5, True), (25, True), (26, False)])
def test_before_and_after_a_mark_lasts_half_of_the_spacing(frame, marked):
    marks = Marks([face(10), face(20)], spacing=10)
    assert bool(marks.at(frame)) == marked


def test_a_frame_that_was_looked_at_and_shows_no_face_of_the_track_has_no_mark_around_it():
    marks = Marks([face(10), face(30)], spacing=10)
    assert [bool(marks.at(frame)) for frame in (15, 16, 20, 24, 25)] == [
        True, False, False, False, True,
    ]  # fmt: skip


def test_spacings_that_are_no_whole_numbers_leave_no_gaps():
    """32 of 40 frames: neighbours are one or two apart."""
    frames = [(2 * part + 1) * 40 // 64 for part in range(32)]
    marks = Marks([face(frame) for frame in frames], spacing=40 / 32)
    assert all(len(marks.at(frame)) == 1 for frame in range(40))


def test_tracks_are_marked_apart():
    marks = Marks([face(10, track=1, score=0.9), face(10, 50.0, track=0, score=0.1)], spacing=5)
    assert [(mark.track, mark.score) for mark in marks.at(11)] == [(0, 0.1), (1, 0.9)]


def test_no_faces_no_marks():
    assert Marks([], spacing=1).at(0) == []
