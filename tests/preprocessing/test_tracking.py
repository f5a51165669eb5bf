import numpy as np

from preprocessing.detector import Face
from preprocessing.tracking import Tracker


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
