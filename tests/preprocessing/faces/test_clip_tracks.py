"""Tracks of whole clips, with the real networks: cuts, persons in turn, what is left out."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_media import write_video

from preprocessing.datasets.demo import make_demo_data
from preprocessing.datasets.demo_config import DemoConfig
from preprocessing.faces.crop_settings import ANSWER, CropSettings
from preprocessing.faces.face_cropper import FaceCropper
from preprocessing.faces.face_selection import BYSTANDER

MEDIA = Path(__file__).parents[2] / "media"
SETTINGS = CropSettings()


@pytest.fixture(scope="module")
def cropper():
    cropper = FaceCropper(SETTINGS.replace(policy=ANSWER))
    yield cropper
    cropper.close()


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Frames of four made persons, 320 pixels square, in pictures of their own."""
    folder = tmp_path_factory.mktemp("people") / "demo"
    make_demo_data(folder, DemoConfig(train_identities=2, val_identities=1, test_identities=1))
    return [read(path) for path in sorted((folder / "Celeb-real").glob("*.mp4"))]


def read(path):
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        ok, frame = capture.read()
        if not ok:
            return frames
        frames.append(cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), (320, 320)))


def still(frames, count):
    """So many frames, there and back, as the demo's clips are short."""
    loop = [*frames, *frames[-2:0:-1]]
    return [loop[number % len(loop)] for number in range(count)]


def frames_by_track(cropper, path):
    crops, counts = cropper.crops(path)
    assert counts.crops + sum(counts.dropped.values()) == counts.faces
    tracks = {}
    for crop in crops:
        tracks.setdefault(crop.track, []).append(crop.frame.index)
    return sorted(tracks.values()), counts


def test_a_cut_at_one_place_ends_the_track(cropper):
    """The same picture with another version of the face: only the face tells."""
    tracks, counts = frames_by_track(cropper, MEDIA / "int70_fake122.mp4")
    assert [(track[0], track[-1]) for track in tracks] == [(0, 26), (28, 39)]
    assert counts.faces == counts.crops == counts.frames == 32
    tracks, _ = frames_by_track(cropper, MEDIA / "apart70_fake122.mp4")
    assert [(track[0], track[-1]) for track in tracks] == [(0, 26), (28, 39)]


def test_one_person_is_one_track(cropper, people, tmp_path):
    for number, frames in enumerate(people):
        path = write_video(tmp_path / f"{number}.mp4", still(frames, 40))
        tracks, counts = frames_by_track(cropper, path)
        assert len(tracks) == 1
        assert counts.shots == 1


def test_a_hard_cut_between_any_two_persons(cropper, people, tmp_path):
    for number, (one, other) in enumerate(itertools.combinations(people, 2)):
        clip = still(one, 20) + still(other, 20)
        tracks, _ = frames_by_track(cropper, write_video(tmp_path / f"{number}.mp4", clip))
        assert [(track[0] < 20, track[-1] < 20) for track in tracks] == [
            (True, True), (False, False)
        ], number  # fmt: skip


def test_a_dissolve_ends_the_track(cropper, people, tmp_path):
    one, other = people[0], _recoloured(people[3])
    blend = [cv2.addWeighted(one[-1], 1 - part, other[0], part, 0) for part in (0.2, 0.4, 0.6, 0.8)]
    clip = still(one, 18) + blend + still(other, 18)
    tracks, counts = frames_by_track(cropper, write_video(tmp_path / "a.mp4", clip))
    # No track holds frames of both sides of it.
    assert all(track[-1] < 22 or track[0] >= 18 for track in tracks)
    assert counts.shots == 2


def _recoloured(frames):
    """The same in a room of other colours: mirrored, with red and blue exchanged."""
    return [np.ascontiguousarray(frame[:, ::-1, ::-1]) for frame in frames]


def test_persons_in_turn_at_one_place_are_two_tracks(cropper, people, tmp_path):
    one, other = people[0], _recoloured(people[3])
    parts = [still(one, 6), still(other, 6)] * 4
    clip = [frame for part in parts for frame in part]
    tracks, counts = frames_by_track(cropper, write_video(tmp_path / "a.mp4", clip))
    assert counts.shots == 2
    assert len(tracks) == 2
    for turn, track in enumerate(tracks):
        assert all(index // 6 % 2 == turn for index in track)


def test_persons_in_turn_before_one_background_are_two_tracks(cropper, tmp_path):
    """The frame shows nothing but the face, of the same person, real and forged in turn."""
    frames = read(MEDIA / "int70_fake122.mp4")
    parts = [frames[2:12], frames[30:40], frames[2:12], frames[30:40]]
    clip = [frame for part in parts for frame in part]
    tracks, counts = frames_by_track(cropper, write_video(tmp_path / "a.mp4", clip))
    assert counts.shots == 1
    assert len(tracks) == 2
    for turn, track in enumerate(tracks):
        assert all(index // 10 % 2 == turn for index in track)


def test_a_person_before_and_after_a_cut_away(cropper, people, tmp_path):
    away = [np.full((320, 320, 3), (200, 40, 30), np.uint8)] * 10
    away[0][100:200, 50:90] = (250, 250, 0)
    clip = still(people[0], 15) + away + still(people[0], 15)
    tracks, counts = frames_by_track(cropper, write_video(tmp_path / "a.mp4", clip))
    # The camera is the same as before: the track goes on.
    assert counts.shots == 2
    assert len(tracks) == 1


def test_another_framing_of_the_same_person_is_a_track_of_its_own(cropper, people, tmp_path):
    wide = [cv2.resize(f, (160, 160), interpolation=cv2.INTER_AREA) for f in people[0]]
    wide = [cv2.copyMakeBorder(f, 20, 140, 20, 140, cv2.BORDER_REPLICATE) for f in wide]
    clip = still(people[0], 20) + still(wide, 20)
    tracks, _ = frames_by_track(cropper, write_video(tmp_path / "a.mp4", clip))
    assert [(track[0] < 20, track[-1] < 20) for track in tracks] == [(True, True), (False, False)]


def test_many_short_shots_of_one_face_are_judged(cropper, people, tmp_path):
    """A face at eight places, four sampled frames each: before, every track was too short."""
    head = cv2.resize(people[0][0], (120, 120), interpolation=cv2.INTER_AREA)
    clip = []
    for number in range(48):
        frame = np.full((300, 640, 3), (90, 110, 80), np.uint8)
        x, y = 160 * (number // 6 % 4), 160 * (number // 24)
        frame[y : y + 120, x : x + 120] = head
        clip.append(frame)
    _, counts = cropper.crops(write_video(tmp_path / "a.mp4", clip))
    assert counts.crops == counts.faces >= 28
    # One camera, so no track lasts; together they are in every frame.
    assert f"({counts.faces} track too short)" in counts.note
    assert counts.note.endswith("in 32 of 32 frames")


def test_a_face_that_is_there_only_briefly_is_judged_and_said_to_be(cropper, people, tmp_path):
    plain = [np.full((320, 320, 3), (90, 110, 80), np.uint8)]
    shown = [people[0][0]]
    seven = write_video(tmp_path / "seven.mp4", plain * 20 + shown * 7 + plain * 21)
    _, counts = cropper.crops(seven)
    assert counts.crops == counts.faces >= 4
    assert not counts.note
    once = write_video(tmp_path / "once.mp4", plain * 20 + shown * 1 + plain * 11)
    _, counts = cropper.crops(once)
    assert (counts.faces, counts.crops) == (1, 1)
    assert "The only face found would be left out (1 track too short)" in counts.note
    _, counts = cropper.crops(once, policy="training")
    assert (counts.crops, counts.dropped) == (0, {"track too short": 1})


def test_faces_in_the_background_are_counted_and_can_be_asked_for(cropper):
    _, counts = cropper.crops(MEDIA / "bg_fake121_0.36.mp4")
    assert counts.dropped == {BYSTANDER: counts.faces - counts.crops}
    assert counts.tracks == 1
    assert counts.crops >= 12
    _, everyone = cropper.crops(MEDIA / "bg_fake121_0.36.mp4", policy="all")
    assert everyone.tracks == 2
    assert everyone.crops == counts.faces
    assert not everyone.dropped
