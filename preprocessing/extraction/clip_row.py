"""The row of a clip in the extraction report."""

from __future__ import annotations

from preprocessing.support.record import Record


class ClipRow(Record):
    """One clip in the face store and in the extraction report.

    `frames` to `notes` are those of `preprocessing.faces.face_selection.FaceCounts`; rows of
    earlier versions lack some.

    Attributes:
      path: of the clip, relative to the dataset's folder.
      label: 1 = fake.
      method: of the manipulation; `real` for real clips.
      original: size and time of change of the original that lent its boxes; None where none did.
      reason: why there is no crop; empty where there is one.
      failed: whether the reason may pass, so that the next extraction tries again.
      seconds: that the extraction took.
      split: `train`, `val` or `test`; as pair, kin and stored not in the face store.
      pair: path of the original, or of the clip itself, which its crops stand beside.
      kin: see `Clip.kin`.
      stored: the clip's file in the face store.
    """

    path: str
    label: int
    method: str
    frames: int = 0
    frames_with_face: int = 0
    shots: int = 0
    faces: int = 0
    tracks: int = 0
    crops: int = 0
    dropped: dict[str, int] = {}
    boxes: str = "own"
    note: str = ""
    notes: list[str] = []
    original: list[int] | None = None
    reason: str = ""
    failed: bool = False
    seconds: float = 0.0
    split: str = ""
    pair: str = ""
    kin: str = ""
    stored: str = ""

    def in_run(self, split: str, pair: str, kin: str, stored: str) -> ClipRow:
        """The row with what only a run knows."""
        return self.model_copy(update={"split": split, "pair": pair, "kin": kin, "stored": stored})
