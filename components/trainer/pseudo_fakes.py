"""Self-blended images: fakes made of real crops, while training.

The procedure is that of Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended Images"
(CVPR 2022): two copies of a face, one of them changed a little in colour and sharpness, are
blended along a soft mask of the face. What a detector can learn from such a pair is what blending
leaves behind in any face swap, not how one generator paints.

    blend = self_blend(pixels, landmarks, np.random.default_rng(1))

Two things differ from the paper, since MTCNN gives five points where it has 68 or 81:

  The mask. The hull of two eyes, a nose and two mouth corners leaves out brows, cheeks and chin,
  which every swap replaces. So the mask is the ellipse from above the brows to the chin that the
  points imply (see `face_ellipse`), its size drawn anew within 10 % as the paper draws among four
  hulls. Crops without known points (pre-cropped data) get the ellipse of a typical face, in a
  crop whose margin is drawn from 1 to 1.3, since that is not known either.

  Of HSV's +-.3 only the saturation changes by as much: hue would make green faces, and RGB shift
  and brightness change hue and value within bounds of their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from components.trainer.crop_store import CropStore
from preprocessing.extraction import face_example as names
from preprocessing.faces.crop_geometry import TYPICAL_LANDMARKS, TYPICAL_MARGIN

METHOD = "self_blended"

# The paper's lengths in pixels are for pictures of this side; others are scaled.
_SIDE = 380
_SHIFT_COLOUR, _COLOUR_CHANCE = 20.0, 0.3
_SATURATION, _BRIGHTNESS, _CONTRAST = 0.3, 0.1, 0.1
_DOWN = (2, 4)
_MOVE = (0.03, 0.015)
_SCALE = 0.95
_ELASTIC_ALPHA, _ELASTIC_SIGMA = 50.0, 7.0
_GREY = np.array((0.299, 0.587, 0.114))
_RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Blend:
    """A pair made of one crop.

    Attributes:
      real: uint8 [side, side, 3], the crop, or its changed copy where the fake's surroundings are
        changed: both show the same outside the mask, to the bit.
      fake: uint8 [side, side, 3].
      mask: float32 [side, side] in [0, 1], the source's share in the fake.
    """

    real: np.ndarray
    fake: np.ndarray
    mask: np.ndarray


def self_blend(
    pixels: np.ndarray,
    landmarks: np.ndarray,
    rng: np.random.Generator,
    change_real: bool = True,
) -> Blend:
    """Makes a pseudo-fake of a real crop.

    Args:
      pixels: uint8 [side, side, 3], RGB; also [height, width, 3].
      landmarks: [5, 2] in shares of the side, see `CropStore.landmarks`; NaN if not known.
      rng: all that is random.
      change_real: as the paper has it, half of the pairs change the picture around the face
        (and so the real crop) instead of the face. False always changes the face.

    Returns:
      The Blend.
    """
    mask = _deform(_ellipse_mask(pixels.shape[:2], landmarks, rng), rng)
    changed = _change(pixels, rng)
    source, target = changed, pixels
    if rng.random() < 0.5 and change_real:
        source, target = pixels, changed
    source, mask = _move(source, mask, rng)
    mask = _soften(mask, rng) * np.float32(rng.choice(_RATIOS))
    weight = cv2.merge([mask, mask, mask])
    difference = cv2.subtract(source, target, dtype=cv2.CV_32F)
    fake = cv2.add(target, cv2.multiply(difference, weight), dtype=cv2.CV_8U)
    return Blend(target, fake, mask)


def encoded_pair(
    encoded: bytes,
    landmarks: np.ndarray,
    rng: np.random.Generator,
    jpeg_quality: int,
    change_real: bool = True,
) -> tuple[bytes, bytes]:
    """A real crop and its pseudo-fake, both as JPEG.

    Blended pixels have to be compressed anew, as the crop of any fake is after its making. The
    real one is compressed anew as well, with the same quality, lest the number of compressions
    tell the classes apart.

    Args:
      encoded: the real crop, JPEG or PNG.
      landmarks: as for `self_blend`.
      rng: as for `self_blend`.
      jpeg_quality: of the result; that of the extraction.
      change_real: as for `self_blend`.

    Returns:
      The real crop and the fake.

    Raises:
      ValueError: the crop cannot be decoded.
    """
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError("a crop of the face store cannot be decoded")
    blend = self_blend(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), landmarks, rng, change_real)
    return _encode(blend.real, jpeg_quality), _encode(blend.fake, jpeg_quality)


def self_blended_split(store: CropStore, seed: int) -> CropStore:
    """A split of a store's real crops and one pseudo-fake of each; the store's fakes are left out.

    For validation where there are no fakes: the best epoch and the calibration can be found on
    it, though what they say holds for pseudo-fakes only. The real crops show what they show in
    the store (compressed anew, see `encoded_pair`), and every call makes the same fakes.

    Args:
      store: with real crops.
      seed: of the pseudo-fakes.

    Returns:
      A CropStore to be closed by the caller. A pseudo-fake's clip has its original's name with
      `#self_blended` behind it.
    """
    return CropStore.of(_split_records(store, seed), store.extraction)


def _split_records(store: CropStore, seed: int) -> Iterator[dict[str, Any]]:
    table = store.table
    for number in np.flatnonzero(table.labels == names.REAL):
        rng = np.random.default_rng([seed, int(number)])
        numbers = np.array([number])
        landmarks = store.landmarks(numbers)[0]
        quality = store.extraction.jpeg_quality
        pair = encoded_pair(store.read(numbers)[0], landmarks, rng, quality, change_real=False)
        clip = table.clip_names[table.clips[number]]
        cluster = table.clip_clusters[table.clips[number]].encode()
        yield {
            names.IMAGE: pair,
            names.LABEL: [names.REAL, names.FAKE],
            names.CLIP_ID: np.array([clip, clip + b"#" + METHOD.encode()], object),
            names.PAIR_ID: np.array([clip, clip], object),
            names.TRACK_ID: np.repeat(table.tracks[number], 2),
            names.FRAME_INDEX: np.repeat(table.frames[number], 2),
            names.BOX: np.stack([table.boxes[number]] * 2),
            names.LANDMARKS: np.stack([table.landmarks[number].ravel()] * 2),
            # Of the person, all that matters is which clips are together.
            names.DATASET: np.array([b"", b""], object),
            names.IDENTITY: np.array([cluster, cluster], object),
        }


def face_ellipse(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The face's outline that five points imply.

    With d the distance from between the eyes to between the mouth corners, brows end about 0.4 d
    above the eyes and the chin 0.7 d below the mouth. The half width is 0.95 of the distance
    between the eyes (faces are about twice as wide as that), and not less than 0.75 of the half
    height: seen from the side, eyes come together faster than a face gets narrow. A turned face
    shows more of the cheek that the nose points away from; the centre moves there by half of the
    nose's distance from the middle. (Proportions
    from anthropometry's means, rounded: pupils 63 mm, eye to mouth 68, mouth to chin 47, brow to
    eye 25, cheeks 132.)

    Args:
      landmarks: [5, 2] in any unit.

    Returns:
      Centre [2], half axes [2] (across and along the face), and the degrees by which the face
      leans clockwise.
    """
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    down = mouth - eyes
    length = float(np.hypot(*down))
    half_height = (0.4 + 1.0 + 0.7) / 2 * length
    half_width = max(0.95 * float(np.hypot(*(landmarks[1] - landmarks[0]))), 0.75 * half_height)
    across = np.array([down[1], -down[0]]) / max(length, 1e-9)
    nose_offset = float((landmarks[2] - (eyes + mouth) / 2) @ across)
    centre = eyes + down * ((1.0 + 0.7 - 0.4) / 2) - 0.5 * nose_offset * across
    lean = float(np.degrees(np.arctan2(-down[0], down[1])))
    return centre, np.array([half_width, half_height]), lean


def _ellipse_mask(
    shape: tuple[int, ...], landmarks: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    height, width = shape
    if not _plausible(landmarks):
        landmarks = 0.5 + (TYPICAL_LANDMARKS - 0.5) * rng.uniform(1.0, TYPICAL_MARGIN)
    centre, axes, lean = face_ellipse(np.asarray(landmarks) * (width, height))
    axes = axes * rng.uniform(0.9, 1.1, 2)
    mask = np.zeros(shape, np.float32)
    ellipse = (centre.tolist(), (2.0 * axes).tolist(), lean)
    cv2.ellipse(mask, ellipse, 1.0, -1, cv2.LINE_8)
    return mask


def _plausible(landmarks: np.ndarray) -> bool:
    """Whether five points can be a face's: known, mostly within the crop, neither tiny nor flat."""
    if not np.isfinite(landmarks).all():
        return False
    _, axes, _ = face_ellipse(landmarks)
    inside = (landmarks > -0.1) & (landmarks < 1.1)
    return bool(inside.all() and axes.min() > 0.1 and axes.max() < 0.8)


def _change(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A copy in other colours, and blurrier or sharper; uint8."""
    height, width = pixels.shape[:2]
    shift = rng.uniform(-_SHIFT_COLOUR, _SHIFT_COLOUR, 3) * (rng.random() < _COLOUR_CHANCE)
    saturation, contrast = 1.0 + rng.uniform(-1, 1, 2) * (_SATURATION, _CONTRAST)
    brightness = 255.0 * rng.uniform(-_BRIGHTNESS, _BRIGHTNESS)
    # All of them are affine: one pass over the picture instead of five.
    grey = np.tile(_GREY, (3, 1))
    matrix = contrast * (saturation * np.eye(3) + (1.0 - saturation) * grey)
    mean = np.array(cv2.mean(pixels)[:3])
    offset = contrast * shift + (1.0 - contrast) * (_GREY @ mean) + brightness
    picture = cv2.transform(np.float32(pixels), np.column_stack([matrix, offset]))
    if rng.random() < 0.5:
        factor = rng.choice(_DOWN)
        small = (max(1, width // factor), max(1, height // factor))
        picture = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        smooth = cv2.GaussianBlur(picture, (0, 0), 1.5)
        amount = rng.uniform(0.2, 1.0)
        picture = cv2.addWeighted(picture, 1.0 + amount, smooth, -amount, 0.0)
    return cv2.convertScaleAbs(cv2.max(picture, 0.0))


def _deform(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Elastic deformation: every pixel is taken from a place nearby, neighbours from alike ones.

    Source: Simard et al., "Best Practices for Convolutional Neural Networks" (2003).
    """
    height, width = mask.shape
    scale = max(height, width) / _SIDE
    # Noise as smooth as this needs no node for every pixel. Blurred noise has a spread inverse to
    # sigma, counted in nodes, so `alpha` shrinks with it.
    step = _ELASTIC_SIGMA / 2.0 * scale
    nodes = (max(2, round(height / step)), max(2, round(width / step)), 2)
    noise = rng.random(nodes, np.float32) * 2.0 - 1.0
    move = cv2.GaussianBlur(noise, (0, 0), 2.0) * np.float32(
        _ELASTIC_ALPHA * scale * 2.0 / _ELASTIC_SIGMA
    )
    move = cv2.resize(move, (width, height), interpolation=cv2.INTER_LINEAR)
    columns, rows = np.meshgrid(
        np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    )
    return cv2.remap(mask, columns + move[..., 0], rows + move[..., 1], cv2.INTER_LINEAR)


def _move(
    source: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Shifts and scales both alike, about the centre."""
    size = np.array(mask.shape[::-1])
    shift = rng.uniform(-1, 1, 2) * _MOVE * size
    scale = rng.uniform(_SCALE, 1.0 / _SCALE)
    centre = (size - 1) / 2
    matrix = np.column_stack([np.eye(2) * scale, centre - scale * centre + shift])
    moved = cv2.warpAffine(source, matrix, size.tolist(), borderMode=cv2.BORDER_REFLECT_101)
    return moved, cv2.warpAffine(mask, matrix, size.tolist())


def _soften(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two Gaussian blurs: odd kernels of 5 to 25 pixels, the second's sigma 5 to 45."""
    scale = max(mask.shape) / _SIDE
    for sigma in (0.0, rng.uniform(5, 45) * scale):
        kernel = 2 * max(1, round(int(rng.integers(2, 13)) * scale)) + 1
        mask = cv2.GaussianBlur(mask, (kernel, kernel), sigma)
    return mask


def _encode(pixels: np.ndarray, quality: int) -> bytes:
    ok, data = cv2.imencode(
        ".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not ok:
        raise ValueError("a pseudo-fake could not be encoded")
    return data.tobytes()
