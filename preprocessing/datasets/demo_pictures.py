"""The pictures of the synthetic dataset: pseudo-persons, their fakes, and the camera over them.

Every pseudo-person is a seeded variation of one portrait. In a fake, a changed copy of the
person's face is blended over it; the difficulty is how visible the copy is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import ArrayLike


def _float32(values: ArrayLike) -> np.ndarray:
    return np.array(values, np.float32)


def _uint8(values: ArrayLike) -> np.ndarray:
    return np.array(values, np.uint8)


# Side of the square picture the camera moves over: the longest frame side, shifted, turned.
STILL = 448
# In pixels of the portrait: the face's centre and its half axes, hairline to chin.
FACE_CENTER = _float32((221, 128))
FACE_AXES = _float32((43, 54))
# Rough outlines of person and head, in pixels of the portrait; GrabCut refines the person's.
HEAD_OUTLINE = (
    "185,149 182,138 176,132 170,122 160,112 155,100 154,70 158,55 175,45 190,30 205,20 230,15 "
    "250,20 270,32 288,42 297,60 302,85 297,108 285,122 275,132 268,137 262,137 258,155 256,173"
)
NECK_OUTLINE = "185,149 258,149 256,173 252,190 237,193 215,191 195,186 186,180"
BODY_OUTLINE = (
    "272,182 290,200 302,220 304,240 325,250 338,265 350,285 360,310 365,340 365,512 20,512 "
    "20,290 60,250 95,228 112,212 112,190 118,185 125,170 140,158 160,151"
)

# Of `blend_hard`: the scale of detail in pixels (sigma), the least and largest misfit of its
# strength (of logarithms), and how soft frames are made (sigma in pixels).
_DETAIL = 1.0
_MISFIT = (0.5, 0.9)
_SOFTNESS = (0.2, 0.5)


def portrait() -> tuple[np.ndarray, ...]:
    """The picture all faces come from, BGR, and soft masks of person, head and face, all uint8."""
    from skimage import data  # Half a second, and not needed when the data is there.

    image = np.ascontiguousarray(data.astronaut()[:, :, ::-1])
    person, head, face = (np.zeros(image.shape[:2], np.uint8) for _ in range(3))
    cv2.fillPoly(person, [_points(f"{HEAD_OUTLINE} {BODY_OUTLINE}")], 255)
    cv2.fillPoly(head, [_points(HEAD_OUTLINE)], 255)
    cv2.fillPoly(head, [_points(NECK_OUTLINE)], 255)
    cv2.ellipse(face, (FACE_CENTER.tolist(), (2 * FACE_AXES).tolist(), 0), 255, -1)

    border = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    guess = np.where(cv2.dilate(person, border) > 0, cv2.GC_PR_BGD, cv2.GC_BGD).astype(np.uint8)
    guess[person > 0] = cv2.GC_PR_FGD
    guess[cv2.erode(person, border) > 0] = cv2.GC_FGD
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(image, guess, None, *models, 3, cv2.GC_INIT_WITH_MASK)
    person = np.where(np.isin(guess, (cv2.GC_FGD, cv2.GC_PR_FGD)), 255, 0).astype(np.uint8)
    soft = ((person, 1), (cv2.dilate(head, border), 2), (face, 5))
    return image, *(cv2.GaussianBlur(mask, (0, 0), sigma) for mask, sigma in soft)


def _points(text: str) -> np.ndarray:
    return np.array([point.split(",") for point in text.split()], dtype=np.int32)


def make_still(
    rng: np.random.Generator, portrait: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """A pseudo-person before a background, and the half axes of the face in the centre."""
    scale = rng.uniform(1.1, 1.4) * np.exp(rng.uniform(-0.06, 0.06, 2) * (1, -1))
    to_portrait = _turn(rng.uniform(-7, 7)) / scale * (rng.choice((-1, 1)), 1)
    grid = _float32(np.mgrid[:STILL, :STILL][::-1]) - STILL / 2
    positions = np.einsum("ij,jyx->iyx", to_portrait, grid) + FACE_CENTER[:, None, None]
    # Features move by up to about 6 px of the portrait, over distances of about 50 px.
    positions += 2.4 * np.stack([_noise(rng, 60), _noise(rng, 60)])
    positions = _float32(positions)

    image, person, head, face = (
        _float32(cv2.remap(part, *positions, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))
        for part in portrait
    )
    person, head, face = (mask[..., None] / 255 for mask in (person, head, face))
    clothes = cv2.cvtColor(_uint8(image), cv2.COLOR_BGR2HSV)
    clothes[..., 0] = (clothes[..., 0].astype(int) + rng.integers(180)) % 180
    clothes[..., 1] = cv2.convertScaleAbs(clothes[..., 1], alpha=rng.uniform(0.2, 0.9))
    clothes = _float32(cv2.cvtColor(clothes, cv2.COLOR_HSV2BGR)) * rng.uniform(0.6, 1.0)
    hair = image * _warmth(rng, 0.2) * rng.uniform(0.5, 1.05)
    # Bounded: a detector misses faces that are too dark.
    skin = 255 * (image / 255) ** rng.uniform(0.85, 1.3) * _warmth(rng, 0.1)
    image = face * skin + (1 - face) * (head * hair + (1 - head) * clothes)

    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.8))
    image += rng.normal(0, rng.uniform(2, 5), image.shape[:2]).astype(np.float32)[..., None]
    image = person * image + (1 - person) * _background(rng)
    slope = rng.uniform(-0.12, 0.12, 2) / (STILL / 2)
    image *= (1 + slope[0] * grid[0] + slope[1] * grid[1])[..., None] * _warmth(rng, 0.06)
    return _uint8(np.clip(image, 0, 255)), FACE_AXES * scale


def _background(rng: np.random.Generator) -> np.ndarray:
    """A wall, soft blobs and a few shapes, out of focus."""
    wall, other = rng.uniform(50, 210, (2, 1)) + rng.uniform(-25, 25, (2, 3))
    blend = np.clip(0.5 + 0.3 * _noise(rng, rng.uniform(60, 250)), 0, 1)[..., None]
    picture = _float32(blend * wall + (1 - blend) * (0.6 * wall + 0.4 * other))
    for _ in range(rng.integers(7)):
        left, top = (int(value) for value in rng.integers(-80, STILL, 2))
        width, height = (int(value) for value in rng.integers(20, 160, 2))
        color = (0.6 * wall + 0.4 * rng.uniform(20, 235, 3)).tolist()
        cv2.rectangle(picture, (left, top, width, height), color, -1)
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(1, 6))
    return picture + rng.uniform(0.5, 2) * _noise(rng, 2)[..., None]


def blend_easily(rng: np.random.Generator, still: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """The person with a changed, moved copy of the same face blended over it.

    The procedure is the paper's, except that it always changes the copy, never the picture under
    it, so that a real clip and its fake are equal outside the face. Most copies are blurrier than
    what surrounds them, which two energies of high frequencies tell.
    """
    source = _recoloured(rng, still, saturation=0.15, value=0.07, shift=8)
    if rng.random() < 0.8:
        side = int(STILL / rng.uniform(1.6, 2.6))
        small = cv2.resize(source, (side, side), interpolation=cv2.INTER_AREA)
        source = cv2.resize(small, (STILL, STILL), interpolation=cv2.INTER_CUBIC)
    else:
        source += rng.uniform(0.6, 1.0) * (source - cv2.GaussianBlur(source, (0, 0), 1.5))
    source, mask = _placed(rng, source, axes)
    return _blended(mask, source, still)


def blend_hard(rng: np.random.Generator, still: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """As `blend_easily`, without its cue: the copy is as sharp as what it covers, on average.

    The copy's finest detail is scaled until its strength is that of the face below it, then half
    of the copies are made somewhat sharper than that and half somewhat softer. So no sum of
    energies tells a fake: what does is that inside and outside, or one side of the seam and the
    other, do not fit together.
    """
    source = _recoloured(rng, still, saturation=0.05, value=0.03, shift=3)
    source, mask = _placed(rng, source, axes)
    detail = source - cv2.GaussianBlur(source, (0, 0), _DETAIL)
    missing_detail = _float32(still) - cv2.GaussianBlur(_float32(still), (0, 0), _DETAIL)
    # Moving by parts of a pixel has softened the copy.
    fit = np.sqrt(np.sum(mask * missing_detail**2) / np.sum(mask * detail**2))
    misfit = np.exp(rng.choice((-1, 1)) * rng.uniform(*_MISFIT))
    return _blended(mask, source + (fit * misfit - 1) * detail, still)


def degrade(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """What a poor camera and a hosting site do to a clip: softness, grain, compression.

    Returns:
      A function of one frame, uint8 [height, width, 3]; it does about the same to every frame.
    """
    softness, grain = rng.uniform(*_SOFTNESS), rng.uniform(0, 2)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(80, 96))]

    def degrade_frame(frame: np.ndarray) -> np.ndarray:
        soft = cv2.GaussianBlur(_float32(frame), (0, 0), softness)
        soft += rng.normal(0, grain, frame.shape[:2]).astype(np.float32)[..., None]
        encoded = cv2.imencode(".jpg", _uint8(np.clip(soft, 0, 255)), quality)[1]
        return cv2.imdecode(encoded, cv2.IMREAD_COLOR)

    return degrade_frame


def _recoloured(
    rng: np.random.Generator, still: np.ndarray, saturation: float, value: float, shift: float
) -> np.ndarray:
    hsv = _float32(cv2.cvtColor(still, cv2.COLOR_BGR2HSV))
    gains = rng.uniform(1 - saturation, 1 + saturation), rng.uniform(1 - value, 1 + value)
    hsv *= _float32((1, *gains))
    picture = _float32(cv2.cvtColor(_uint8(np.clip(hsv, 0, 255)), cv2.COLOR_HSV2BGR))
    return picture + _float32(rng.uniform(-shift, shift, 3))


def _placed(
    rng: np.random.Generator, source: np.ndarray, axes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The copy, moved a little, and the soft mask [STILL, STILL, 1] of what is taken from it."""
    # Elastic deformation of the face's outline: an ellipse whose radius wobbles.
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    radius = rng.uniform(0.88, 1.0) + sum(
        rng.normal(0, 0.03) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4)
    )
    outline = STILL / 2 + (radius * np.array((np.cos(angle), np.sin(angle)))).T * axes
    mask = np.zeros((STILL, STILL), np.float32)
    cv2.fillPoly(mask, [outline.astype(np.int32)], 1.0)

    shift = 2 * axes * rng.uniform(-1, 1, 2) * (0.03, 0.015)
    matrix = _similarity(rng.uniform(0.95, 1 / 0.95), 0, shift)
    source, mask = (move(picture, matrix, (STILL, STILL)) for picture in (source, mask))
    mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(2, 7)) * rng.choice((0.75, 1, 1, 1))
    return source, mask[..., None]


def _blended(mask: np.ndarray, source: np.ndarray, still: np.ndarray) -> np.ndarray:
    return _uint8(np.clip(mask * source + (1 - mask) * _float32(still), 0, 255))


def camera_path(
    rng: np.random.Generator, size: tuple[int, int], frames: int
) -> Iterator[tuple[np.ndarray, float]]:
    """For each frame the 2x3 matrix from still to frame, and the gain of the light."""
    # x and y in pixels, degrees, zoom.
    ranges = ((12, 10, 3, 0.03), (10, 6, 3, 0.04), (3, 3, 1, 0.01))
    start, drift, sway = rng.uniform(-1, 1, (3, 4)) * ranges
    phase, light = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.07)
    to_frame = (np.array(size) - STILL) / 2
    for time in np.linspace(-0.5, 0.5, frames):
        wave = np.sin(4 * time + phase)
        x, y, degrees, zoom = start + drift * time + sway * wave
        yield _similarity(1 + zoom, degrees, to_frame + np.array((x, y))), 1 + light * wave


def _noise(rng: np.random.Generator, cell: float) -> np.ndarray:
    """Smooth noise of the still's size, unit variance at its nodes, `cell` pixels between them."""
    nodes = max(2, round(STILL / cell))
    grid = rng.standard_normal((nodes, nodes)).astype(np.float32)
    return cv2.resize(grid, (STILL, STILL), interpolation=cv2.INTER_CUBIC)


def _warmth(rng: np.random.Generator, amount: float) -> np.ndarray:
    """Gains of blue, green and red that make a colour colder or warmer, never greenish."""
    warmth = rng.uniform(-amount, amount)
    return _float32((1 - warmth, 1 + rng.uniform(-amount, amount) / 5, 1 + warmth / 2))


def _turn(degrees: float) -> np.ndarray:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array(((cosine, -sine), (sine, cosine)))


def _similarity(scale: float, degrees: float, shift: np.ndarray) -> np.ndarray:
    """The 2x3 matrix that scales and turns about the still's centre, then shifts by pixels."""
    matrix = scale * _turn(degrees)
    center = np.full(2, STILL / 2)
    return np.column_stack((matrix, center - matrix @ center + shift))


def move(picture: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture through a 2x3 matrix, of `size` (width, height)."""
    return cv2.warpAffine(
        picture, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
