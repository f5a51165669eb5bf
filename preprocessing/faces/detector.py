"""MTCNN over batches of equal frames.

The networks are those of the `mtcnn` package (`preprocessing.faces.mtcnn_networks`); the cascade
around them is Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded
Convolutional Networks" (2016): proposals on an image pyramid (P-Net), refinement (R-Net), output
with five landmarks (O-Net), non-maximum suppression after each.

Why not `MTCNN.detect_faces`: it scales the full float frame once per pyramid level, calls the
networks layer by layer, and its `min_face_size` cannot be raised (the number of levels does not
follow it, the last levels get smaller than the network's window, and the resulting error is
answered with "no faces").
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

# Values of the original implementation, which the mtcnn package also uses.
_WINDOW = 12
_STRIDE = 2
_SCALE_FACTOR = 0.709
_NMS_OUTPUT = 0.7
# There 0.5, 0.7 and 0.7, with 0.7 as R-Net's threshold. O-Net decides in the end: the more
# candidates get as far as that, the fewer dim and half-hidden faces are lost, and the two small
# networks are cheap.
_NMS_LEVEL, _NMS_PYRAMID, _NMS_REFINED = 0.8, 0.9, 0.8
_THRESHOLDS = (0.6, 0.5)
# Where `detect_near` looks: a quarter of a face around the hint covers most motion between sampled
# frames, and R-Net corrects about as much; offsets and sizes in sides of the hint.
_SHIFTS = np.array([(x, y) for x in (-0.25, 0, 0.25) for y in (-0.25, 0, 0.25)] * 2, np.float32)
_SCALES = np.repeat([0.9, 1.2], 9).astype(np.float32)[:, None]
# Pixels of a side that `cv2.remap` can address.
_REMAPPED = 32_000
# Proposals kept per frame: crowds hold tens of faces, noise can hold thousands of proposals.
_MAX_PROPOSALS = 400


@dataclasses.dataclass(frozen=True)
class Face:
    """One face in one frame.

    Attributes:
      box: float32 [4], x1, y1, x2, y2 in pixels of the frame; may reach beyond its border.
      landmarks: float32 [5, 2], x and y of left eye, right eye, nose, left and right mouth corner.
      score: O-Net's probability of a face.
    """

    box: np.ndarray
    landmarks: np.ndarray
    score: float

    @property
    def size(self) -> float:
        """Longer side of the box in pixels."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))

    def moved(self, scale: float, corner: np.ndarray) -> Face:
        """The face in a picture that lay in the searched one, scaled, from a corner [2] on."""
        box = (self.box - np.tile(corner, 2)) / scale
        points = (self.landmarks - corner) / scale
        return Face(box.astype(np.float32), points.astype(np.float32), self.score)


class FaceDetector:
    """Finds faces in RGB frames.

    Args:
      min_face_size: smallest face that is looked for, in pixels of the frame (at least 12).
      min_score: faces below this O-Net probability are dropped.
      threads: that the networks compute with; 0 takes all CPUs.
    """

    def __init__(self, min_face_size: int = 40, min_score: float = 0.9, threads: int = 0):
        if min_face_size < _WINDOW:
            raise ValueError(
                f"min_face_size is {min_face_size}; MTCNN sees no face below 12 pixels"
            )
        # Other programs of the project know a `Face` and have no networks.
        from preprocessing.faces.mtcnn_networks import Network

        self._min_face_size = min_face_size
        self._min_score = min_score
        self._pnet, self._rnet, self._onet = (
            Network(name, threads) for name in ("pnet", "rnet", "onet")
        )

    def detect(self, frames: np.ndarray) -> list[list[Face]]:
        """Finds the faces of each frame.

        Args:
          frames: uint8 [batch, height, width, 3], RGB.

        Returns:
          For each frame its faces, highest score first; empty lists where there are none.
        """
        boxes, scores, index = self._proposals(frames)
        keep = _suppress(boxes, scores, index, _NMS_PYRAMID, limit=_MAX_PROPOSALS)
        return self._judge(frames, _square(boxes[keep]), index[keep])

    def detect_near(self, frames: np.ndarray, hints: list[Face]) -> list[list[Face]]:
        """Finds the faces of each frame at about the places of `hints` only.

        Squares around each hint, shifted and scaled, take the place of P-Net's proposals: many
        times faster than `detect`, and blind for what is elsewhere.

        Args:
          frames: uint8 [batch, height, width, 3], RGB.
          hints: faces of neighbouring frames of the same size.

        Returns:
          As `detect`.
        """
        if not hints:
            return [[] for _ in frames]
        boxes = _square(np.stack([face.box for face in hints]))
        sides = boxes[:, 2:] - boxes[:, :2]
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        centres = centres[:, None] + _SHIFTS * sides[:, None]
        halves = sides[:, None] * _SCALES / 2
        boxes = np.concatenate([centres - halves, centres + halves], axis=-1)
        boxes = boxes.reshape(-1, 4).astype(np.float32)
        index = np.repeat(np.arange(len(frames), dtype=np.int32), len(boxes))
        return self._judge(frames, np.tile(boxes, (len(frames), 1)), index)

    def _judge(self, frames: np.ndarray, boxes: np.ndarray, index: np.ndarray) -> list[list[Face]]:
        """R-Net and O-Net over square proposals [n, 4] of the frames `index` [n]."""
        faces: list[list[Face]] = [[] for _ in frames]
        if not len(boxes):
            return faces

        offsets, classes = self._rnet(_windows(frames, boxes, index, side=24))
        scores = classes[:, 1]
        keep = scores > _THRESHOLDS[1]
        boxes, scores, index = _shift(boxes, offsets)[keep], scores[keep], index[keep]
        keep = _suppress(boxes, scores, index, _NMS_REFINED)
        boxes, index = _square(boxes[keep]), index[keep]
        if not len(boxes):
            return faces

        offsets, landmarks, classes = self._onet(_windows(frames, boxes, index, side=48))
        scores = classes[:, 1]
        sides = boxes[:, 2:] - boxes[:, :2]
        points = np.stack([landmarks[:, :5], landmarks[:, 5:]], axis=-1)
        points = boxes[:, None, :2] + points * sides[:, None, :]
        boxes = _shift(boxes, offsets)
        sure = np.flatnonzero(scores > self._min_score)
        kept = _suppress(boxes[sure], scores[sure], index[sure], _NMS_OUTPUT, of_smaller=True)
        for i in sure[kept]:
            faces[index[i]].append(Face(boxes[i], points[i].astype(np.float32), float(scores[i])))
        return faces

    def _propose(self, level: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """P-Net over a level [batch, height, width, 3]: boxes, scores and frame numbers."""
        offsets, classes = self._pnet(level)
        frame, row, column = np.nonzero(classes[..., 1] > _THRESHOLDS[0])
        corner = _STRIDE * np.stack([column, row], axis=1).astype(np.float32)
        # mtcnn adds 1 to the upper left corner; it is part of its calibration.
        boxes = np.concatenate([corner + 1, corner + _WINDOW], axis=1)
        boxes += offsets[frame, row, column] * (_WINDOW - 1)
        return boxes, classes[frame, row, column, 1], frame.astype(np.int32)

    def _proposals(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """P-Net over the pyramid: boxes [n, 4], scores [n] and frame numbers [n]."""
        height, width = frames.shape[1:3]
        levels = []
        scale = _WINDOW / self._min_face_size
        source: np.ndarray | list[np.ndarray] = frames
        while min(height, width) * scale >= _WINDOW:
            size = (max(_WINDOW, round(width * scale)), max(_WINDOW, round(height * scale)))
            level = [cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in source]
            if source is frames and scale < 1:
                # Scaling every level from the full frame would take longer than the networks.
                source = level
            boxes, scores, index = self._propose(np.stack(level))
            # Both factors, because the rounded level is not exactly `scale` times the frame.
            boxes = boxes * np.tile([width / size[0], height / size[1]], 2).astype(np.float32)
            keep = _suppress(boxes, scores, index, _NMS_LEVEL)
            levels.append((boxes[keep], scores[keep], index[keep]))
            scale *= _SCALE_FACTOR
        if not levels:
            return np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32)
        boxes, scores, index = (np.concatenate(parts) for parts in zip(*levels, strict=True))
        return boxes, scores, index


def _windows(frames: np.ndarray, boxes: np.ndarray, index: np.ndarray, side: int) -> np.ndarray:
    """What lies in boxes, bilinear, black outside of the frame.

    Places are those of `tf.image.crop_and_resize`, to the 32nd of a pixel.

    Args:
      frames: uint8 [batch, height, width, 3].
      boxes: float32 [n, 4], in pixels.
      index: [n], the frame of each box.
      side: of the windows.

    Returns:
      uint8 [n, side, side, 3].
    """
    height, width = frames.shape[1:3]
    windows = np.empty((len(boxes), side, side, 3), np.uint8)
    shares = np.linspace(0, 1, side, dtype=np.float32)
    columns, rows = (
        (boxes[:, axis, None] + shares * (boxes[:, axis + 2] - boxes[:, axis])[:, None])
        * np.float32((length - 1) / length)
        for axis, length in enumerate((width, height))
    )
    # OpenCV counts pixels of a picture, and rows of what is made, in 16 bits.
    together = _REMAPPED // side if max(height, width) < _REMAPPED else 1
    for frame in np.unique(index):
        of_frame = np.flatnonzero(index == frame)
        for start in range(0, len(of_frame), together):
            part = of_frame[start : start + together]
            windows[part] = _sampled(frames[frame], columns[part], rows[part])
    return windows


def _sampled(picture: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Pixels at the places `columns` [n, side] and `rows` [n, side]: uint8 [n, side, side, 3]."""
    shape = (*columns.shape, columns.shape[1])
    # At least a pixel is left where all places are outside.
    top, left = (
        min(max(0, int(places.min()) - 1), length - 1)
        for places, length in zip((rows, columns), picture.shape, strict=False)
    )
    bottom, right = (max(1, int(places.max()) + 3) for places in (rows, columns))
    maps = [
        np.broadcast_to(places - corner, shape).reshape(-1, shape[2])
        for places, corner in ((columns[:, None], left), (rows[:, :, None], top))
    ]
    sampled = cv2.remap(
        picture[top:bottom, left:right], *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )
    return sampled.reshape(*shape, 3)


def _square(boxes: np.ndarray) -> np.ndarray:
    """Boxes [n, 4] grown to squares around their centres."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True, initial=0) / 2
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


def _shift(boxes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Boxes [n, 4] moved by regressed offsets [n, 4], given in box sides."""
    sides = np.tile(boxes[:, 2:] - boxes[:, :2] + 1, 2)
    return (boxes + offsets * sides).astype(np.float32)


def _suppress(
    boxes: np.ndarray,
    scores: np.ndarray,
    index: np.ndarray,
    threshold: float,
    limit: int | None = None,
    of_smaller: bool = False,
) -> np.ndarray:
    """Greedy non-maximum suppression, frame by frame.

    Args:
      boxes: [n, 4].
      scores: [n].
      index: [n], the frame of each box.
      threshold: boxes that overlap a better one by more are dropped.
      limit: how many boxes of one frame are looked at, best first.
      of_smaller: overlap is divided by the smaller box instead of the union.

    Returns:
      Positions of the boxes that stay, sorted by frame, then by falling score.
    """
    chosen = [np.empty(0, np.int64)]
    for frame in np.unique(index):
        order = np.flatnonzero(index == frame)
        order = order[np.argsort(-scores[order], kind="stable")][:limit]
        if of_smaller:
            kept = _suppress_within(boxes[order], threshold)
        else:
            rectangles = boxes[order].astype(np.float64)
            rectangles[:, 2:] -= rectangles[:, :2]
            kept = cv2.dnn.NMSBoxes(rectangles, scores[order], 0.0, threshold)
        chosen.append(order[kept])
    return np.concatenate(chosen)


def _suppress_within(boxes: np.ndarray, threshold: float) -> list[int]:
    """Positions of the boxes, best first, that none before them overlaps by more.

    The overlap is a share of the smaller box, which OpenCV's own suppression does not know.
    """
    chosen = []
    order = np.arange(len(boxes))
    while len(order):
        best, order = order[0], order[1:]
        chosen.append(best)
        order = order[overlap(boxes[best], boxes[order], of_smaller=True) <= threshold]
    return chosen


def overlap(box: np.ndarray, boxes: np.ndarray, of_smaller: bool = False) -> np.ndarray:
    """Intersection over union of one box [4] with others [n, 4]; values in [0, 1], shape [n].

    With `of_smaller` the intersection is divided by the smaller area instead of the union.
    """
    upper = np.maximum(box[:2], boxes[:, :2])
    lower = np.minimum(box[2:], boxes[:, 2:])
    inter = np.prod(np.clip(lower - upper, 0, None), axis=1)
    area = np.prod(box[2:] - box[:2])
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    denominator = np.minimum(area, areas) if of_smaller else area + areas - inter
    return inter / np.maximum(denominator, 1e-9)
