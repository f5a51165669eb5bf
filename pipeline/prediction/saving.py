"""Writes what an answer rests on: the annotated file, its faces, the scores over time, the JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.prediction.inputs import Item
from preprocessing.faces.face_cropper import Crop
from preprocessing.media.decoder import Decoder
from preprocessing.support.files import replacing
from preprocessing.support.png_file import write_png
from serving.model.predictor import FilePredictor
from serving.model.verdict import Verdict
from serving.pictures.annotated_file import annotate_file
from serving.pictures.heat_map import heat_map
from serving.pictures.marks import heading_of, judged_faces
from serving.pictures.score_curve import score_curve


class Saver:
    """Writes a folder for each answered file; a context manager.

    A folder is named after its file, with a number where two files have one name. It gets
    `answer.json` (see `serving.model.answer`), `crops/` (the faces as the model was shown them, by
    track, frame and score, and a heat map of each where the model tells it), `scores.png` where the
    file has several frames, and `annotated.png` or `annotated.mp4`. What an earlier call wrote
    there is replaced. Clips that are given as several pictures have no annotated file.

    Args:
      folder: existing folder.
      predictor: predictor that answers.

    Attributes:
      without_heat_maps: whether there were faces of which the model gives no heat map.
    """

    def __init__(self, folder: Path, predictor: FilePredictor):
        self.without_heat_maps = False
        self._folder = folder
        self._predictor = predictor
        self._decoder = Decoder()
        self._names: set[str] = set()

    def __enter__(self) -> Saver:
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder.close()

    def save(self, item: Item, verdict: Verdict, crops: Sequence[Crop]) -> None:
        """Writes the folder of one file.

        Args:
          item: the file.
          verdict: verdict on the file.
          crops: crops that it was judged by; empty where it was not.
        """
        folder = self._folder / self._name(item)
        (folder / "crops").mkdir(parents=True, exist_ok=True)
        # Removed first and written last: a folder that has it is complete.
        (folder / "answer.json").unlink(missing_ok=True)
        for old in (*folder.glob("annotated.*"), *folder.glob("crops/*"), folder / "scores.png"):
            old.unlink(missing_ok=True)
        faces = judged_faces(verdict, crops)
        cells = self._predictor.cells([face.jpeg for face in faces])
        self.without_heat_maps = self.without_heat_maps or (bool(faces) and cells is None)
        for number, face in enumerate(faces):
            name = f"track{face.track}-frame{face.frame:06d}-{face.score:.3f}"
            (folder / "crops" / f"{name}.jpg").write_bytes(face.jpeg)
            if cells is not None:
                drawn = heat_map(face.jpeg, cells[number])
                write_png(folder / "crops" / f"{name}-heat.png", drawn)
        if len({face.frame for face in faces}) > 1:
            with replacing(folder / "scores.png", binary=True) as file:
                file.write(score_curve(verdict))
        if faces and isinstance(item.media, Path) and item.media.is_file():
            annotate_file(
                self._decoder,
                item.media,
                folder,
                faces,
                verdict.counts.frames,
                heading_of(verdict),
            )
        with replacing(folder / "answer.json") as file:
            json.dump(verdict.answer(self._predictor.about), file, indent=1)

    def _name(self, item: Item) -> str:
        name = Path(item.name).name
        if name in ("", ".."):  # Which would be the folder above.
            name = "file"
        number = 1
        while (unique := name if number == 1 else f"{name}-{number}") in self._names:
            number += 1
        self._names.add(unique)
        return unique
