"""Looks clips up in the face store, without opening them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from preprocessing.datasets.clip import Clip
from preprocessing.extraction.clip_extraction import original_state
from preprocessing.extraction.clip_row import ClipRow
from preprocessing.extraction.face_extraction import frames_of_originals, store_key
from preprocessing.extraction.face_store import read_row, stored_clip
from preprocessing.faces.crop_settings import CropSettings

# Object stores answer each request after some hundredths of a second, and many at once.
_THREADS = 8


def finished_clips(
    store: str | Path,
    settings: CropSettings,
    root: str | Path,
    listed: Iterable[Clip],
    wanted: Sequence[Clip],
) -> dict[str, ClipRow]:
    """The clips that the face store holds, and whose originals are as they were.

    Args:
      store: folder of finished clips.
      settings: that they are extracted with.
      root: folder that the clips' paths start from.
      listed: all clips of the dataset.
      wanted: those to look for, with their hashes.

    Returns:
      Path -> row.
    """
    key = store_key(settings)
    frames = frames_of_originals(listed) if settings.boxes_of_original else {}

    def row_of(clip: Clip) -> ClipRow | None:
        row = read_row(stored_clip(store, key, clip))
        state = original_state(str(root), clip, settings, frames.get(clip.source, ()))
        return row if row is not None and row.original == state else None

    with ThreadPoolExecutor(_THREADS) as pool:
        rows = pool.map(row_of, wanted)
        return {c.path: row for c, row in zip(wanted, rows, strict=True) if row is not None}
