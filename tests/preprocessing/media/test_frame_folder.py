"""Folders of frames, decoded as clips."""

import pytest
from made_media import face_frame, number_of, numbered_frame, numbered_video, write_image

from preprocessing.faces.crop_settings import CropSettings
from preprocessing.faces.face_cropper import FaceCropper
from preprocessing.media.decoder import Decoder
from preprocessing.media.frame_folder import frame_files, may_lend, pictures_of, sample_pictures
from preprocessing.media.media_errors import DecodingFailed, UnreadableMedia

PRECROPPED = CropSettings(frames_per_clip=4, precropped=True)


@pytest.fixture(scope="module")
def decoder():
    with Decoder() as decoder:
        yield decoder


def sample(folder, decoder, count, indices=None, tell=None):
    files = pictures_of(folder)
    return list(sample_pictures(files, lambda path: decoder.frames(path, 1), count, indices, tell))


def fill(folder, names):
    folder.mkdir()
    for number, name in enumerate(names):
        write_image(folder / name, numbered_frame(number))
    return folder


def test_frames_are_spread_evenly_and_carry_the_numbers_of_their_names(tmp_path, decoder):
    folder = fill(tmp_path / "clip", [f"{12 * n}.png" for n in range(8)])
    frames = sample(folder, decoder, 4)
    assert [number_of(frame.pixels) for frame in frames] == [1, 3, 5, 7]
    assert [frame.index for frame in frames] == [12, 36, 60, 84]


def test_numbers_stand_anywhere_in_the_names_of_frames(tmp_path, decoder):
    folder = fill(tmp_path / "clip", [f"id0_0001_frame_{n}_face_0.png" for n in (7, 40, 300)])
    assert [frame.index for frame in sample(folder, decoder, 100)] == [7, 40, 300]


def test_each_face_of_a_frame_comes_with_its_track(tmp_path, decoder):
    names = [f"x_frame_{n}_face_{m}.png" for n in (10, 2, 5) for m in (1, 0)]
    folder = fill(tmp_path / "clip", names)
    frames = sample(folder, decoder, 2)
    assert [(frame.index, frame.track) for frame in frames] == [(2, 0), (2, 1), (10, 0), (10, 1)]
    assert [number_of(frame.pixels) for frame in frames] == [3, 2, 1, 0]


def test_numbers_that_two_pictures_share_are_not_the_frames(tmp_path, decoder):
    folder = fill(tmp_path / "clip", ["a_7.png", "b_7.png", "b_8.png"])
    frames = sample(folder, decoder, 100)
    assert [(frame.index, frame.track) for frame in frames] == [(0, 0), (1, 0), (2, 0)]


def test_other_names_give_positions(tmp_path, decoder):
    folder = fill(tmp_path / "clip", [f"{n}th.png" for n in range(12)])
    (folder / "Thumbs.db").write_bytes(b"no picture")
    (folder / ".hidden.png").write_bytes(b"no picture")
    frames = sample(folder, decoder, 100)
    assert [frame.index for frame in frames] == list(range(12))
    assert [number_of(frame.pixels) for frame in frames] == list(range(12)), "9 before 10"


def test_frames_by_number(tmp_path, decoder):
    folder = fill(tmp_path / "clip", ["000.png", "005.png", "010.png"])
    frames = sample(folder, decoder, 3, indices=[5, 7, 10])
    assert [frame.index for frame in frames] == [5, 10]


def test_a_picture_that_cannot_be_decoded_is_left_out_and_named(tmp_path, decoder):
    folder = fill(tmp_path / "clip", ["0.png", "1.png", "2.png"])
    (folder / "1.png").write_bytes(b"no picture at all")
    told = []
    frames = sample(folder, decoder, 3, tell=told.append)
    assert [frame.index for frame in frames] == [0, 2]
    (note,) = told[0].notes
    assert note.startswith("1 of 3 pictures were left out: frame 1.png: ")


def test_a_name_that_is_not_utf8_is_escaped_in_notes(tmp_path, decoder):
    folder = fill(tmp_path / "clip", ["0.png", "1.png"])
    (folder / "2\udce9.png").write_bytes(b"no picture at all")
    told = []
    assert len(sample(folder, decoder, 3, tell=told.append)) == 2
    (note,) = told[0].notes
    assert r"frame 2\udce9.png: " in note
    note.encode()


def test_where_no_picture_can_be_decoded_the_first_is_named(tmp_path, decoder):
    folder = fill(tmp_path / "clip", ["0.png", "1.png"])
    for name in ("0.png", "1.png"):
        (folder / name).write_bytes(b"no picture at all")
    with pytest.raises(UnreadableMedia, match=r"frame 0\.png: "):
        sample(folder, decoder, 2)


def test_a_picture_that_is_away_is_a_passing_fault(tmp_path, decoder):
    folder = fill(tmp_path / "clip", ["0.png", "1.png"])
    files = [*pictures_of(folder), folder / "2.png"]
    with pytest.raises(DecodingFailed, match=r"frame 2\.png: .*cannot be opened"):
        list(sample_pictures(files, lambda path: decoder.frames(path, 1), 3))


def test_an_empty_folder(tmp_path, decoder):
    (tmp_path / "clip").mkdir()
    assert frame_files(tmp_path / "clip") == []
    with pytest.raises(UnreadableMedia, match="the folder of frames is empty"):
        sample(tmp_path / "clip", decoder, 2)


def test_the_cropper_takes_a_folder_for_a_clip(tmp_path):
    folder = fill(tmp_path / "clip", [f"{n}.png" for n in range(8)])
    cropper = FaceCropper(PRECROPPED)
    crops, _ = cropper.crops(folder)
    cropper.close()
    assert [crop.frame.index for crop in crops] == [1, 3, 5, 7]
    assert {crop.track for crop in crops} == {0}


def test_the_cropper_takes_several_pictures_for_a_clip(tmp_path):
    names = [f"x_frame_{n}_face_{m}.png" for n in range(3) for m in range(2)]
    folder = fill(tmp_path / "clip", names)
    cropper = FaceCropper(PRECROPPED)
    crops, counts = cropper.crops([folder / name for name in names])
    cropper.close()
    assert [(crop.frame.index, crop.track) for crop in crops] == [
        (frame, face) for frame in range(3) for face in range(2)
    ]
    assert (counts.frames, counts.faces, counts.tracks, counts.crops) == (3, 6, 2, 6)


def test_faces_of_frames_are_one_track_and_boxes_of_the_original_are_taken(tmp_path):
    settings = PRECROPPED.replace(precropped=False, boxes_of_original=True)
    for name in ("original", "fake"):
        (tmp_path / name).mkdir()
        for number in range(4):
            picture = face_frame([(20 + 4 * number, 40, 0.9)])
            write_image(tmp_path / name / f"{number:03d}.png", picture)
    cropper = FaceCropper(settings)
    crops, _ = cropper.crops(tmp_path / "fake", tmp_path / "original")
    own, _ = cropper.crops(tmp_path / "fake")
    pictures = [sorted((tmp_path / name).iterdir()) for name in ("fake", "original")]
    named, counts = cropper.crops(*pictures)
    cropper.close()
    assert counts.boxes == "original"
    assert [crop.jpeg for crop in named] == [crop.jpeg for crop in crops]
    assert len(crops) == len(own) == 4
    assert {crop.track for crop in crops} == {0}
    assert [crop.frame.index for crop in crops] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("numbers", "numbers_of_fake", "count", "expected"),
    [
        (range(300), range(300), 32, True),
        # Gaps on either side, and a fake that is a little shorter.
        ([n for n in range(300) if n % 7], range(300), 32, True),
        (range(300), [n for n in range(240) if n % 7], 32, True),
        (range(10), range(10), 32, True),
        # Every tenth frame of the fake: few are sampled of the original.
        (range(300), range(0, 300, 10), 32, False),
        (range(0, 300, 10), range(300), 32, False),
        # A picture a second has the numbers of the first frames.
        (range(10), range(300), 4, False),
        # Half of the numbers, but those that are sampled of the original are the others.
        (range(300), range(0, 300, 2), 30, False),
        (range(10), range(20, 30), 32, False),
    ],
)
def test_pictures_with_other_numbers_lend_nothing(
    tmp_path, numbers, numbers_of_fake, count, expected
):
    for name, frames in (("original", numbers), ("fake", numbers_of_fake)):
        (tmp_path / name).mkdir()
        for number in frames:
            (tmp_path / name / f"{number:04d}.png").touch()
    original, fake = tmp_path / "original", tmp_path / "fake"
    assert may_lend(original, fake, count) is expected
    assert may_lend(frame_files(original), fake, count) is expected


def test_only_clips_of_one_kind_lend(tmp_path):
    film = numbered_video(tmp_path / "film.mp4", 3)
    picture = write_image(tmp_path / "picture.png", numbered_frame(0))
    folder = fill(tmp_path / "folder", ["0.png", "1.png", "2.png"])
    kinds = [film, picture, folder]
    lending = [[may_lend(original, fake, 4) for fake in kinds] for original in kinds]
    assert lending == [[True, False, False], [False, True, False], [False, False, True]]
    # What is neither is told by whoever reads it.
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    assert may_lend(tmp_path / "broken.mp4", picture, 4)
    (tmp_path / "empty").mkdir()
    for absent in (tmp_path / "empty", tmp_path / "missing", [picture, tmp_path / "missing"]):
        assert not may_lend(absent, folder, 4)
