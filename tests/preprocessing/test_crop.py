import cv2
import numpy as np
import pytest

from preprocessing.crop import limit_size, places_in_crop, roll, square_crop

HEIGHT, WIDTH = 40, 60
NO_LIMIT = 10_000


@pytest.fixture(scope="module")
def frame():
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def test_inside_the_frame_the_pixels_are_those_of_the_frame(frame):
    crop = square_crop(frame, np.array([20, 10, 30, 22]), 1.0, NO_LIMIT)
    np.testing.assert_array_equal(crop, frame[10:22, 19:31])


def test_the_margin_grows_the_longer_side_around_the_centre(frame):
    crop = square_crop(frame, np.array([25, 12, 35, 28]), 1.5, NO_LIMIT)
    np.testing.assert_array_equal(crop, frame[8:32, 18:42])


@pytest.mark.parametrize(
    "box",
    [
        (-6, 5, 14, 25),
        (50, 5, 70, 25),
        (20, -9, 40, 11),
        (20, 30, 40, 50),
        (-10, -10, 10, 10),
        (-20, -30, 80, 70),
    ],
)
def test_beyond_the_border_its_pixels_are_repeated(frame, box):
    crop = square_crop(frame, np.array(box), 1.0, NO_LIMIT)
    wide = np.pad(frame, ((50, 50), (50, 50), (0, 0)), mode="edge")
    x1, y1, x2, y2 = box
    np.testing.assert_array_equal(crop, wide[y1 + 50 : y2 + 50, x1 + 50 : x2 + 50])


def test_large_crops_are_scaled_down_and_small_ones_left(frame):
    assert square_crop(frame, np.array([0, 0, 40, 40]), 1.0, 16).shape == (16, 16, 3)
    assert square_crop(frame, np.array([0, 0, 8, 8]), 1.0, 16).shape == (8, 8, 3)


@pytest.mark.parametrize(
    "box",
    [
        (70, 0, 90, 20),
        (0, -30, 20, -10),
        (10, 10, 10, 10),
        (30, 30, 20, 20),
        (np.nan, 0, 10, 10),
        (0, 0, np.inf, 10),
    ],
)
def test_a_box_without_pixels_is_refused(frame, box):
    with pytest.raises(ValueError, match="box"):
        square_crop(frame, np.array(box, float), 1.3, NO_LIMIT)


def test_a_huge_box_is_not_built_in_memory(frame):
    with pytest.raises(ValueError, match="far larger than"):
        square_crop(frame, np.array([-1e6, -1e6, 1e6, 1e6]), 1.3, 384)


@pytest.mark.parametrize(
    "shape, expected", [((100, 50), (20, 10)), ((20, 3), (20, 3)), ((900, 1), (20, 1))]
)
def test_limit_size(shape, expected):
    assert limit_size(np.zeros((*shape, 3), np.uint8), 20).shape == (*expected, 3)


@pytest.mark.parametrize(
    "eyes, degrees",
    [
        (((0, 0), (10, 0)), 0),
        (((0, 0), (10, 10)), 45),
        (((0, 0), (10, -10)), -45),
        (((3, 3), (3, 3)), 0),
    ],
)
def test_roll(eyes, degrees):
    assert roll(np.array([*eyes, (5, 5), (2, 8), (8, 8)], float)) == pytest.approx(degrees)


@pytest.mark.parametrize("degrees", [-30, 17])
def test_an_aligned_crop_shows_level_eyes(degrees):
    picture = np.full((200, 200, 3), 40, np.uint8)
    turn = np.deg2rad(degrees)
    arm = 30 * np.array([np.cos(turn), np.sin(turn)])
    eyes = np.array([(100, 100) - arm, (100, 100) + arm])
    for eye, colour in zip(eyes, [(255, 0, 0), (0, 0, 255)], strict=True):
        cv2.circle(picture, tuple(int(v) for v in eye.round()), 4, colour, -1)
    angle = roll(np.vstack([eyes, np.zeros((3, 2))]))
    crop = square_crop(picture, np.array([50, 50, 150, 150]), 1.0, NO_LIMIT, angle)
    assert crop.shape == (100, 100, 3)
    left, right = (np.argwhere(crop[..., channel] > 200).mean(axis=0) for channel in (0, 2))
    assert left == pytest.approx((50, 20), abs=1.5)
    assert right == pytest.approx((50, 80), abs=1.5)


def test_an_aligned_crop_has_no_black_corners():
    picture = np.full((50, 50, 3), 200, np.uint8)
    assert square_crop(picture, np.array([-10, -10, 40, 40]), 1.3, NO_LIMIT, 30).min() == 200


@pytest.mark.parametrize("angle", [0.0, 30.0, -70.0])
@pytest.mark.parametrize(("margin", "max_size"), [(1.0, NO_LIMIT), (1.7, NO_LIMIT), (1.7, 70)])
def test_points_are_found_again_in_the_crop(angle, margin, max_size):
    box = np.array([50, 40, 130, 141])
    points = np.array([[70, 60], [110, 95], [64, 120]])
    for point in points:
        frame = np.zeros((200, 220, 3), np.uint8)
        cv2.circle(frame, point.tolist(), 3, (255, 255, 255), -1)
        crop = square_crop(frame, box, margin, max_size, angle)[..., 0].astype(float)
        rows, columns = np.indices(crop.shape)
        middle = np.array([(columns * crop).sum(), (rows * crop).sum()]) / crop.sum()
        place = places_in_crop(point[None], box, margin, angle)[0]
        # Half a pixel is the centre of the first one.
        np.testing.assert_allclose(place * len(crop) - 0.5, middle, atol=0.3)


def test_points_of_a_box_without_area_are_nowhere():
    for box in (np.zeros(4), np.array([1, 2, np.nan, 4])):
        assert np.isnan(places_in_crop(np.ones((5, 2)), box, 1.3)).all()
