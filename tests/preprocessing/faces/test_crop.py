import cv2
import numpy as np
import pytest

from preprocessing.faces.crop import (
    limit_size,
    nearly_square,
    padded_square,
    places_in_crop,
    roll,
    square_crop,
)

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


@pytest.mark.parametrize(
    "corner", [(WIDTH, 0), (0, HEIGHT), (-20, 0), (0, -20)], ids=["right", "below", "left", "above"]
)
def test_a_square_that_only_touches_the_border_of_the_frame_is_refused(frame, corner):
    with pytest.raises(ValueError, match="holds no pixel of a 60x40 frame"):
        square_crop(frame, np.array([*corner, corner[0] + 20, corner[1] + 20]), 1.0, NO_LIMIT)


def test_a_huge_box_is_not_built_in_memory(frame):
    with pytest.raises(ValueError, match="far larger than"):
        square_crop(frame, np.array([-1e6, -1e6, 1e6, 1e6]), 1.3, 384)


def test_the_largest_square_has_four_times_the_longer_side_of_the_frame(frame):
    side = 4 * WIDTH
    assert square_crop(frame, np.array([0, 0, side, 10]), 1.0, NO_LIMIT).shape[0] == side
    with pytest.raises(ValueError, match="far larger than a 60x40 frame"):
        square_crop(frame, np.array([0, 0, side + 1, 10]), 1.0, NO_LIMIT)


def test_the_smallest_square_is_one_pixel(frame):
    box = np.array([10, 12, 11, 13])
    np.testing.assert_array_equal(square_crop(frame, box, 1.0, NO_LIMIT), frame[12:13, 10:11])
    np.testing.assert_array_equal(places_in_crop(np.array([[10, 12]]), box, 1.0), [[0.5, 0.5]])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((100, 50), (20, 10)), ((20, 3), (20, 3)), ((900, 1), (20, 1)), ((1, 900), (1, 20))],
)
def test_limit_size(shape, expected):
    assert limit_size(np.zeros((*shape, 3), np.uint8), 20).shape == (*expected, 3)


def test_scaling_down_averages_whole_areas():
    # Other interpolations look at a few pixels of each area, and let fine patterns alias.
    picture = np.random.default_rng(1).integers(0, 256, (16, 32, 3), dtype=np.uint8)
    areas = picture.reshape(2, 8, 4, 8, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(limit_size(picture, 4), areas, atol=0.51)


@pytest.mark.parametrize("shape", [(20, 20), (2, 1)])
def test_a_crop_that_fits_is_not_sampled_anew(shape):
    # The channels are no side of the picture.
    crop = np.zeros((*shape, 3), np.uint8)
    assert limit_size(crop, max(shape)) is crop


@pytest.mark.parametrize(
    ("eyes", "degrees"),
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
    centre = np.array([100, 100])
    eyes = np.array([centre - arm, centre + arm])
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


def test_points_keep_their_places_in_a_square_that_does_not_lean():
    places = places_in_crop(np.array([[0, 0], [9, 4], [20, -1]]), np.array([0, 0, 10, 10]), 1.0)
    # A pixel's centre is half a pixel from its border; outside the crop shares leave [0, 1].
    np.testing.assert_allclose(places, [[0.05, 0.05], [0.95, 0.45], [2.05, -0.05]], rtol=1e-6)
    assert places.dtype == np.float32


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (1, 2, np.nan, 4), (0, 0, np.inf, 4)])
def test_points_of_a_box_without_area_are_nowhere(box):
    places = places_in_crop(np.ones((5, 2)), np.array(box), 1.3)
    assert places.shape == (5, 2)
    assert places.dtype == np.float32
    assert np.isnan(places).all()


def test_a_whole_picture_lies_in_the_middle_of_its_square(frame):
    square = padded_square(frame, NO_LIMIT)
    wide = np.pad(frame, ((10, 10), (0, 0), (0, 0)), mode="edge")
    np.testing.assert_array_equal(square, wide)
    np.testing.assert_array_equal(padded_square(frame[:, :HEIGHT], NO_LIMIT), frame[:, :HEIGHT])


def test_the_square_of_a_narrow_strip_is_as_large_as_its_limit():
    assert padded_square(np.zeros((2, 60_000, 3), np.uint8), 100).shape == (100, 100, 3)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(96, 96, True), (37, 36, True), (150, 155, True), (145, 112, False), (91, 107, False)],
)
def test_crops_that_are_a_few_pixels_from_square_are_square(height, width, expected):
    assert nearly_square(height, width) == expected
