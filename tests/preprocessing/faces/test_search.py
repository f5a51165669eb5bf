import numpy as np
import pytest

from preprocessing.faces.detector import Face
from preprocessing.faces.search import FaceSearch
from preprocessing.media.frame import Frame


class Script:
    """Stands in for FaceDetector: frames carry their number, a script says what they show."""

    def __init__(self, shown, seen_near=None):
        self._shown = shown
        self._near = shown if seen_near is None else seen_near
        self.whole, self.near = [], []

    def detect(self, frames):
        (number,) = frames[:, 0, 0, 0]
        self.whole.append(int(number))
        return [[FACES[name] for name in self._shown[number]]]

    def detect_near(self, frames, hints):
        (number,) = frames[:, 0, 0, 0]
        self.near.append((int(number), "".join(sorted({NAMES[id(face)] for face in hints}))))
        return [[FACES[name] for name in self._near[number]]]


FACES = {name: Face(np.zeros(4, np.float32), np.zeros((5, 2), np.float32), 0.99) for name in "abc"}
NAMES = {id(face): name for name, face in FACES.items()}


def frames(count, sizes=None):
    for number in range(count):
        size = sizes[number] if sizes else 4
        yield Frame(number, 40 * number, np.full((size, size, 3), number, np.uint8))


def search(script, count, interval=4, sizes=None):
    found = list(FaceSearch(script, interval).faces(frames(count, sizes)))
    assert [searched.frame.index for searched in found] == list(range(count))
    return ["".join(NAMES[id(face)] for face in searched.faces) for searched in found]


def test_key_frames_are_searched_whole_and_the_others_near_both():
    script = Script(["a"] * 9)
    assert search(script, 9) == ["a"] * 9
    assert script.whole == [0, 4, 8]
    assert [number for number, _ in script.near] == [1, 2, 3, 5, 6, 7]


def test_hints_come_from_the_key_frames_before_and_after():
    script = Script(["a", "ab", "ab", "ab", "b"])
    assert search(script, 5) == ["a", "ab", "ab", "ab", "b"]
    assert {hints for _, hints in script.near} == {"ab"}


def test_a_frame_with_fewer_faces_than_its_key_frames_is_searched_whole():
    script = Script(["ab"] * 5, seen_near=["ab", "ab", "a", "ab", "ab"])
    assert search(script, 5) == ["ab"] * 5
    assert script.whole == [0, 4, 2]


def test_clips_without_faces_are_searched_whole():
    script = Script([""] * 6)
    assert search(script, 6) == [""] * 6
    assert sorted(script.whole) == [0, 1, 2, 3, 4, 5]


def test_the_last_frame_is_a_key_frame():
    script = Script(["a"] * 7)
    search(script, 7)
    assert script.whole == [0, 4, 6]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_short_clips(count):
    script = Script(["a"] * count)
    assert search(script, count) == ["a"] * count
    assert script.whole == list(range(count))


def test_an_interval_of_one_searches_every_frame_whole():
    script = Script(["a"] * 5)
    search(script, 5, interval=1)
    assert script.whole == [0, 1, 2, 3, 4]
    assert not script.near
    with pytest.raises(ValueError, match="interval is 0"):
        FaceSearch(script, 0)


def test_places_of_another_frame_size_are_no_hints():
    script = Script(["a", "a", "a", "b", "b", "b"])
    assert search(script, 6, sizes=[4, 4, 4, 8, 8, 8]) == ["a", "a", "a", "b", "b", "b"]
    assert all(hints == ("a" if number < 3 else "b") for number, hints in script.near)


def test_no_more_frames_than_the_interval_are_held():
    taken = []

    def counted():
        for frame in frames(20):
            taken.append(frame.index)
            yield frame

    for frame, _, _ in FaceSearch(Script(["a"] * 20), 4).faces(counted()):
        assert len(taken) - frame.index <= 4
