"""From one clip to its crops, with the real networks."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_media import face_frame, numbered_video, portrait, write_image, write_video

from preprocessing.faces import face_cropper, quality
from preprocessing.faces.crop_settings import ALL, ANSWER, CropSettings
from preprocessing.faces.detector import overlap
from preprocessing.faces.face_cropper import BYSTANDER, TOO_SHORT, FaceCounts, FaceCropper

SETTINGS = CropSettings(frames_per_clip=6)
PRECROPPED = SETTINGS.replace(precropped=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A head that moves, the same head forged, and two faces of unequal size."""
    folder = tmp_path_factory.mktemp("clips")
    frames = [face_frame([(20 + 8 * n, 40, 0.9)]) for n in range(12)]
    write_video(folder / "original.mp4", frames)
    forged = [cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in frames]
    write_video(folder / "forged.mp4", forged)
    write_video(folder / "forged_short.mp4", forged[:7])
    write_video(folder / "forged_small.mp4", [frame[:200] for frame in forged])
    write_video(
        folder / "bystander.mp4",
        [face_frame([(10, 10, 1.6), (340, 60 + n, 0.5)], 480, 320) for n in range(6)],
    )
    write_video(
        folder / "passing.mp4",
        [face_frame([(0, 20, 0.9), *([(160, 20, 0.9)] if n == 4 else [])]) for n in range(6)],
    )
    numbered_video(folder / "faceless.mp4", 6)
    return folder


@pytest.fixture(scope="module")
def cropper():
    cropper = FaceCropper(SETTINGS)
    yield cropper
    cropper.close()


def variant(cropper, **changes):
    """A cropper with other settings that shares the networks."""
    other = FaceCropper(cropper.settings.replace(precropped=True))
    settings = cropper.settings.replace(**changes)
    other.settings = settings
    other._search = cropper._search
    other._filter = quality.QualityFilter(
        settings.min_face_size, settings.min_face_score, settings.max_yaw, settings.min_sharpness
    )
    return other


def add_up(counts):
    return counts.crops + sum(counts.dropped.values())


def size_of(crop):
    return cv2.imdecode(np.frombuffer(crop.jpeg, np.uint8), cv2.IMREAD_COLOR).shape


def test_one_face_is_one_track(cropper, folder):
    crops, counts = cropper.crops(folder / "original.mp4")
    assert counts == FaceCounts(
        frames=6, frames_with_face=6, shots=1, faces=6, tracks=1, crops=6, dropped={}, boxes="own"
    )
    assert [crop.frame.index for crop in crops] == [1, 3, 5, 7, 9, 11]
    assert {crop.track for crop in crops} == {0}
    # The head moves by 8 pixels a frame, and its box with it.
    lefts = [float(crop.box[0]) for crop in crops]
    assert np.diff(lefts) == pytest.approx([16] * 5, abs=6)


@pytest.mark.parametrize("original", [None, "original.mp4"])
def test_work_ends_with_what_the_check_raises(cropper, folder, original):
    calls = []

    def check():
        calls.append(len(calls))
        if len(calls) == 3:
            raise TimeoutError

    path = folder / ("forged.mp4" if original else "original.mp4")
    with pytest.raises(TimeoutError):
        cropper.crops(path, original and folder / original, check)
    assert calls == [0, 1, 2]
    # The next clip is none the worse for it.
    assert cropper.crops(path, original and folder / original)[1].frames == 6


def test_a_crop_is_the_margin_around_its_box(cropper, folder):
    crops, _ = cropper.crops(folder / "original.mp4")
    for crop in crops:
        side = max(crop.box[2:] - crop.box[:2]) * SETTINGS.margin
        height, width, _ = size_of(crop)
        assert height == width == pytest.approx(side, abs=1)


def test_far_smaller_faces_are_left_out_and_counted(cropper, folder):
    _, counts = cropper.crops(folder / "bystander.mp4")
    assert counts.tracks == 1
    assert counts.crops == 6
    assert counts.faces > 6
    assert add_up(counts) == counts.faces
    assert set(counts.dropped) == {BYSTANDER}
    for policy in (ALL, ANSWER):
        crops, counts = cropper.crops(folder / "bystander.mp4", policy=policy)
        assert counts.tracks == (2 if policy == ALL else 1)
        assert not counts.note
        assert len(crops) == counts.crops == (counts.faces if policy == ALL else 6)
    _, counts = variant(cropper, min_relative_size=0.0).crops(folder / "bystander.mp4")
    assert counts.tracks == 2
    assert add_up(counts) == counts.faces


def test_a_short_track_is_left_out_and_counted(cropper, folder):
    crops, counts = cropper.crops(folder / "passing.mp4")
    assert counts.faces == 7
    assert counts.crops == 6
    assert counts.dropped == {TOO_SHORT: 1}
    assert {crop.track for crop in crops} == {0}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"min_face_size": 300}, quality.TOO_SMALL),
        ({"min_face_score": 1.0}, quality.TOO_UNSURE),
        ({"max_yaw": 0.0}, quality.TURNED_AWAY),
        ({"min_sharpness": 200.0}, quality.BLURRED),
    ],
)
def test_the_quality_filter_counts_its_reasons(cropper, folder, changes, reason):
    crops, counts = variant(cropper, **changes).crops(folder / "original.mp4")
    assert counts.dropped[reason] == counts.faces == 6
    assert not crops
    # An answer judges them all the same, and says so.
    crops, counts = variant(cropper, **changes, policy=ANSWER).crops(folder / "original.mp4")
    assert len(crops) == 6
    assert f"6 {reason}" in counts.note


def test_defaults_keep_what_is_merely_hard(cropper, tmp_path):
    frames = [face_frame([(40, 30, 1.0)]) for _ in range(6)]
    dark = [(cv2.GaussianBlur(frame, (0, 0), 2.5) * 0.5).astype(np.uint8) for frame in frames]
    _, counts = cropper.crops(write_video(tmp_path / "a.mp4", dark))
    assert counts.crops == counts.faces == 6


def test_alignment_turns_the_face_upright(cropper, tmp_path):
    turn = cv2.getRotationMatrix2D((220, 110), -20, 1.0)
    leaning = cv2.warpAffine(portrait()[:300], turn, (512, 300), borderMode=cv2.BORDER_REPLICATE)
    path = write_image(tmp_path / "a.png", leaning)
    wide = {"margin": 2.0, "max_crop_size": 1000}
    for align in (False, True):
        ((crop,), _) = variant(cropper, align=align, **wide).crops(path)
        leaning_by = face_cropper.roll(crop.landmarks)
        assert leaning_by == pytest.approx(20, abs=5)
        expected = 0 if align else leaning_by
        again = write_image(tmp_path / "crop.png", _decoded(crop))
        ((found,), _) = cropper.crops(again)
        assert face_cropper.roll(found.landmarks) == pytest.approx(expected, abs=5)


def _decoded(crop):
    pixels = cv2.imdecode(np.frombuffer(crop.jpeg, np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def test_a_fake_can_be_cut_at_the_places_of_its_original(cropper, folder):
    original, _ = cropper.crops(folder / "original.mp4")
    forged, counts = cropper.crops(folder / "forged.mp4", folder / "original.mp4")
    assert counts.boxes == "original"
    for one, other in zip(original, forged, strict=True):
        assert one.frame.index == other.frame.index
        np.testing.assert_array_equal(one.box, other.box)
        assert size_of(one) == size_of(other)
        assert one.jpeg != other.jpeg
    short, _ = cropper.crops(folder / "forged_short.mp4", folder / "original.mp4")
    assert [crop.frame.index for crop in short] == [1, 3, 5]


def test_an_original_is_searched_once_until_it_changes(folder, tmp_path, searches):
    cropper = FaceCropper(SETTINGS)
    cropper.crops(folder / "original.mp4", key="1")
    # Clips of object stores are copied to another place each time.
    copy = Path(shutil.copy(folder / "original.mp4", tmp_path))
    first, counts = cropper.crops(folder / "forged.mp4", copy, key="1")
    assert counts.boxes == "original"
    cropper.crops(folder / "forged_short.mp4", copy, key="1")
    assert len(searches) == 1
    # Another film under the same name.
    shutil.copy(folder / "forged_small.mp4", copy)
    _, counts = cropper.crops(folder / "forged.mp4", copy, key="2")
    assert (counts.boxes, len(searches)) == ("own", 3)
    shutil.copy(folder / "original.mp4", copy)
    again, _ = cropper.crops(folder / "forged.mp4", copy, key="3")
    assert len(searches) == 4
    for crop, other in zip(first, again, strict=True):
        assert crop.jpeg == other.jpeg


@pytest.mark.parametrize("original", ["missing.mp4", "forged_small.mp4"])
def test_without_a_fitting_original_a_fake_is_searched_itself(cropper, folder, original):
    crops, counts = cropper.crops(folder / "forged.mp4", folder / original)
    assert counts.boxes == "own"
    assert len(crops) == 6


def pictures(folder, numbers):
    folder.mkdir()
    for number in numbers:
        write_image(folder / f"{number:04d}.png", face_frame([(20 + 3 * number, 40, 0.9)]))
    return folder


def test_pictures_in_other_steps_are_searched_themselves(cropper, tmp_path):
    original = pictures(tmp_path / "original", range(24))
    fake = pictures(tmp_path / "fake", range(0, 24, 3))
    crops, counts = cropper.crops(fake, original)
    assert (counts.boxes, counts.frames) == ("own", 6)
    assert [crop.frame.index for crop in crops] == [0, 6, 9, 12, 18, 21]
    again, _ = cropper.crops(fake)
    assert [crop.jpeg for crop in crops] == [crop.jpeg for crop in again]


@pytest.mark.parametrize("kind_of_fake", ["pictures", "picture", "film"])
def test_a_film_and_pictures_lend_each_other_nothing(cropper, folder, tmp_path, kind_of_fake):
    original, numbers = folder / "original.mp4", range(1, 11)
    fake = pictures(tmp_path / "fake", numbers)
    if kind_of_fake == "picture":
        # A film that is so short that its first frame is sampled.
        original = write_video(tmp_path / "short.mp4", [face_frame([(20, 40, 0.9)])] * 3)
        fake = fake / "0009.png"
    elif kind_of_fake == "film":
        original, fake = fake, original
    crops, counts = cropper.crops(fake, original)
    again, counts_alone = cropper.crops(fake)
    assert counts == counts_alone
    assert [crop.jpeg for crop in crops] == [crop.jpeg for crop in again]
    assert len(crops) == (1 if kind_of_fake == "picture" else 6)


def test_faces_that_are_cut_already_are_taken_whole(folder, tmp_path):
    cropper = FaceCropper(PRECROPPED)
    ((crop,), counts) = cropper.crops(write_image(tmp_path / "a.png", portrait()[:50, :40]))
    assert size_of(crop) == (50, 50, 3)
    assert crop.box.tolist() == [0, 0, 40, 50]
    assert counts.crops == counts.faces == counts.frames == 1


@pytest.mark.integration
def test_paired_crops_of_real_clips(media):
    root = media / "faceforensics_mini"
    original = root / "original_sequences/youtube/c40/videos/585.mp4"
    fake = root / "manipulated_sequences/Deepfakes/c40/videos/585_599.mp4"
    cropper = FaceCropper(SETTINGS.replace(frames_per_clip=3))
    ours, _ = cropper.crops(original)
    theirs, counts = cropper.crops(fake, original)
    assert counts.boxes == "original"
    own, _ = cropper.crops(fake)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.box, other.box)
    assert all(
        max(overlap(crop.box, np.stack([other.box for other in own]))) > 0.3 for crop in theirs
    )
