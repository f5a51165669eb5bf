import numpy as np
import pytest

from preprocessing.faces.detector import Face
from preprocessing.faces.tracking import Tracker


def face(x, y, size=100.0):
    half = size / 2
    box = np.array([x - half, y - half, x + half, y + half], np.float32)
    return Face(box, np.zeros((5, 2), np.float32), 0.99)


def follow(*frames):
    tracker = Tracker()
    return [tracker.assign(list(faces)) for faces in frames]


def test_frames_without_faces():
    assert follow([], [], []) == [[], [], []]


def test_order_within_a_frame_does_not_matter():
    left, right = face(100, 100), face(500, 100)
    assert follow([left, right], [right, left]) == [[0, 1], [1, 0]]


def test_crossing_faces_keep_their_tracks():
    steps = range(0, 401, 40)
    frames = [[face(100 + step, 100), face(500 - step, 160)] for step in steps]
    assert follow(*frames) == [[0, 1]] * len(frames)


def test_a_large_and_a_small_face_at_one_place_are_two():
    assert follow([face(100, 100, 100)], [face(100, 100, 40), face(110, 100, 95)]) == [[0], [1, 0]]


def test_a_jump_by_more_than_a_face_is_another_person():
    assert follow([face(100, 100)], [face(199, 100)], [face(330, 100)]) == [[0], [0], [1]]


def test_a_face_that_comes_back_keeps_its_track():
    assert follow([face(100, 100)], [], [], [face(110, 100)]) == [[0], [], [], [0]]


def test_the_sum_of_distances_decides_not_the_first_match():
    # Greedy matching would give the new face at 140 to the track at 150 and lose the other.
    before = [face(100, 100), face(150, 100)]
    assert follow(before, [face(140, 100), face(240, 100)]) == [[0, 1], [0, 1]]


def test_more_faces_than_tracks():
    assert follow([face(100, 100)], [face(400, 100), face(105, 100), face(700, 100)]) == [
        [0],
        [1, 0, 2],
    ]


@pytest.mark.parametrize(
    ("sizes", "tracks"), [((100, 180), 1), ((100, 180.5), 2), ((180, 100), 1), ((180.5, 100), 2)]
)
def test_a_face_grows_or_shrinks_by_up_to_1_8_times(sizes, tracks):
    before, after = sizes
    assert follow([face(100, 100, before)], [face(100, 100, after)]) == [[0], [tracks - 1]]


@pytest.mark.parametrize(("first", "second"), [(100, 150), (150, 100)])
@pytest.mark.parametrize(("shift", "tracks"), [(150, 1), (150.5, 2)])
def test_a_face_moves_by_up_to_the_larger_of_its_sizes(first, second, shift, tracks):
    frames = [[face(100, 100, first)], [face(100 + shift, 100, second)]]
    assert follow(*frames) == [[0], [tracks - 1]]
    # Along both axes: it is a distance, not the larger of two shifts.
    part = shift / np.sqrt(2)
    frames = [[face(100, 100, first)], [face(100 + part, 100 + part, second)]]
    assert follow(*frames) == [[0], [tracks - 1]]


def test_a_match_is_never_given_up_for_more_impossible_ones():
    # Twelve faces of a choir step by 0.9 of their size to the left; the first leaves, one comes.
    # If impossible pairs were cheap, leaving all of them unmatched would be as good.
    before = [face(100 * n, 100) for n in range(12)]
    after = [face(100 * n - 90, 100) for n in range(1, 13)]
    assert follow(before, after) == [list(range(12)), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]]
    # Eleven of 30 rows are impossible, the others far apart: their sum of shifts is above 10.
    before = [face(300 * n, 100) for n in range(30)]
    after = [face(300 * n + 95, 100) for n in range(19)] + [
        face(0, 9000 + 300 * n) for n in range(11)
    ]
    assert follow(before, after)[1] == [*range(19), *range(30, 41)]


def test_two_faces_one_of_which_can_be_matched_only_alone():
    # The nearest pairs together cost 0.1 + impossible; 0.9 + 0.95 is dearer and matches both.
    before = [face(100, 100), face(195, 100)]
    assert follow(before, [face(190, 100), face(285, 100)]) == [[0, 1], [0, 1]]


def test_places_of_another_shot_are_no_evidence():
    tracker = Tracker()
    shots = [0, 0, 1, 1, 0]
    assert [tracker.assign([face(100, 100)], shot) for shot in shots] == [[0], [0], [1], [1], [0]]


def test_numbers_are_not_used_twice_across_shots():
    tracker = Tracker()
    assert tracker.assign([face(100, 100), face(400, 100)], 0) == [0, 1]
    assert tracker.assign([face(400, 100)], 1) == [2]
    assert tracker.assign([face(900, 100), face(100, 100)], 0) == [3, 0]
    assert tracker.assign([face(410, 100), face(700, 100)], 1) == [2, 4]


def test_a_face_of_no_size_does_no_harm():
    assert follow([face(100, 100, 0)], [face(100, 100, 0)], [face(100, 100, 50)]) == [[0], [0], [1]]
