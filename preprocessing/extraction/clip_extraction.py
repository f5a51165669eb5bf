"""Extracts one clip: its report row and its Examples, which the face store keeps."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from preprocessing.datasets.clip import Clip
from preprocessing.extraction.clip_row import ClipRow
from preprocessing.extraction.face_example import make_example
from preprocessing.faces.face_cropper import Crop, FaceCropper
from preprocessing.faces.face_selection import FaceCounts
from preprocessing.media.frame_folder import Media, frame_files
from preprocessing.media.media_errors import DecodingFailed, UnreadableMedia
from preprocessing.support.files import local_copies, place
from preprocessing.support.storage.errors import PassingFault

if TYPE_CHECKING:
    from preprocessing.faces.crop_settings import CropSettings

# Part of the reason of a clip that is not known to be unreadable.
PASSING = "a passing fault: the next extraction tries again"


def extract_clip(
    root: str, clip: Clip, cropper: FaceCropper, frames_of_original: Sequence[str] = ()
) -> tuple[ClipRow, list[bytes]]:
    """One clip's report row and its serialized Examples.

    The row always comes; a clip that gives no Example says why in the row's `reason`. After a
    passing fault, which the decoder has tried to get over, the row has `failed` set: nothing is
    known about the clip then, and the row must not be kept.

    Args:
      root: folder that the clip's path starts from.
      clip: the clip.
      cropper: cuts its faces out.
      frames_of_original: the pictures of the clip's original, as in `Clip.frames`.
    """
    original_now = original_state(root, clip, cropper.settings, frames_of_original)
    start = time.monotonic()
    crops: list[Crop] = []
    counts, reason, failed = FaceCounts(), "", False
    files = list(clip.frames or (clip.path,))
    originals = list(frames_of_original or (clip.source,)) if original_now else []
    try:
        with local_copies(place(root), [*files, *originals]) as folder:
            for path in files:
                _check_present(folder / path)
            original = _media(folder, clip.source, frames_of_original) if original_now else None
            media = _media(folder, clip.path, clip.frames)
            key = _key_of_original(root, clip, cropper.settings, original_now)
            crops, counts = cropper.crops(media, original, key=key)
        if not crops:
            reason = _why_none(counts)
    except UnreadableMedia as error:
        reason = str(error)
    except (DecodingFailed, MemoryError, OSError) as error:
        reason = getattr(error, "strerror", "") or str(error) or type(error).__name__
        reason, failed = f"{reason} ({PASSING})", True
    row = ClipRow(
        path=clip.path,
        label=clip.label,
        method=clip.method,
        **dataclasses.asdict(counts),
        original=original_now,
        reason=reason,
        failed=failed,
        seconds=round(time.monotonic() - start, 3),
    )
    return row, [_example(clip, crop) for crop in crops]


def _example(clip: Clip, crop: Crop) -> bytes:
    return make_example(
        jpeg=crop.jpeg,
        label=clip.label,
        clip_id=clip.path,
        pair_id=clip.source or clip.path,
        track_id=crop.track,
        frame_index=crop.frame.index,
        timestamp_ms=crop.frame.timestamp_ms,
        dataset=clip.dataset,
        method=clip.method,
        identity="|".join(clip.identities),
        box=crop.box,
        landmarks=crop.landmarks,
        score=crop.score,
    ).SerializeToString(deterministic=True)


def _media(folder: Path, path: str, frames: Sequence[str]) -> Media:
    return [folder / frame for frame in frames] if frames else folder / path


def _check_present(path: Path) -> None:
    """Raises DecodingFailed where a clip is away, which is no fact about its content."""
    try:
        path.stat()
    except OSError as error:
        raise DecodingFailed(f"the file cannot be opened: {error.strerror}") from error


def _why_none(counts: FaceCounts) -> str:
    """Without numbers, so that the report counts clips by it; they stand beside it in the row."""
    if not counts.faces:
        return "no face found"
    return f"no face was kept: {', '.join(sorted(counts.dropped))}"


def original_state(
    root: str, clip: Clip, settings: CropSettings, frames: Sequence[str] = ()
) -> list[int] | None:
    """What tells that a clip's original has changed; None where it has no part in the result.

    Args:
      root: folder that paths start from.
      clip: the fake.
      settings: tell whether boxes of the original are taken.
      frames: the original's pictures, as in `Clip.frames`.

    Returns:
      Its size in bytes and its time of change in nanoseconds; of several pictures, the sum and the
      latest. None also where it is absent.

    Raises:
      PassingFault: the object store does not tell.
    """
    if not settings.boxes_of_original or not clip.source:
        return None
    return _state(root, clip.source, frames)


def _key_of_original(
    root: str, clip: Clip, settings: CropSettings, original_now: list[int] | None
) -> Hashable:
    """Names the clip that lends a clip its boxes, and its version; a real clip may be one itself.

    None where no boxes are lent.
    """
    path, state = clip.source, original_now
    if settings.boxes_of_original and not clip.source and not clip.label:
        path, state = clip.path, _state(root, clip.path, clip.frames)
    return (root, path, *state) if state else None


def _state(root: str, path: str, frames: Sequence[str]) -> list[int] | None:
    try:
        folder = place(root)
        files = [folder / file for file in frames or (path,)]
        if not frames and files[0].is_dir():  # Which knows nothing of what is written into a file.
            files = frame_files(files[0])
        states = [file.stat() for file in files]
    except PassingFault:  # Of an object store: it may be there.
        raise
    except OSError:
        return None
    return [sum(state.st_size for state in states), max(state.st_mtime_ns for state in states)]
