"""Writes what an answer rests on: the annotated file, its faces, the scores over time, the JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.prediction.inputs import Item
from preprocessing.faces.face_cropper import Crop
from preprocessing.media.decoder import Decoder
from preprocessing.media.frame import MediaInfo
from preprocessing.support.files import replacing
from preprocessing.support.png_file import write_png
from serving.model.predictor import FilePredictor
from serving.model.verdict import Verdict
from serving.pictures.annotation import annotate, score_bar
from serving.pictures.film import FilmWriter
from serving.pictures.heat_map import heat_map
from serving.pictures.marks import JudgedFace, Marks, judged_faces
from serving.pictures.score_curve import score_curve

# More than any film has.
_ALL_FRAMES = 1 << 30


class Saver:
    """Writes a folder for each answered file; a context manager.

    A folder is named after its file, with a number where two files have one name. It gets
    `answer.json` (see `serving.model.answer`), `crops/` (the faces as the model was shown them, by
    track, frame and score, and a heat map of each where the model tells it), `scores.png` where the
    file has several frames, and `annotated.png` or `annotated.mp4`. What an earlier call wrote
    there is replaced. Clips that are given as several pictures have no annotated file.

    Args:
      folder: existing folder.
      predictor: that answers.
    """

    def __init__(self, folder: Path, predictor: FilePredictor):
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
          verdict: on it.
          crops: that it was judged by; empty where it was not.
        """
        folder = self._folder / self._name(item)
        (folder / "crops").mkdir(parents=True, exist_ok=True)
        for old in (*folder.glob("annotated.*"), *folder.glob("crops/*"), folder / "scores.png"):
            old.unlink(missing_ok=True)
        faces = judged_faces(verdict, crops)
        cells = self._predictor.cells([face.jpeg for face in faces])
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
            self._annotate(item.media, folder, verdict, faces)
        # The last, so that a folder with it is complete.
        with replacing(folder / "answer.json") as file:
            json.dump(verdict.answer(self._predictor.about), file, indent=1)

    def _name(self, item: Item) -> str:
        name = Path(item.name).name or "file"
        number = 1
        while (unique := name if number == 1 else f"{name}-{number}") in self._names:
            number += 1
        self._names.add(unique)
        return unique

    def _annotate(
        self, path: Path, folder: Path, verdict: Verdict, faces: Sequence[JudgedFace]
    ) -> None:
        infos: list[MediaInfo] = []
        (first,) = self._decoder.frames(path, 1, tell=infos.append)
        total = infos[0].frames
        marks = Marks(faces, max(1.0, total / verdict.counts.frames))
        heading = f"{verdict.verdict or 'no verdict'}, P(fake) {verdict.score:.3f}"
        if total == 1:
            drawn = annotate(first.pixels, marks.at(first.index), heading)
            write_png(folder / "annotated.png", drawn)
            return
        bar = score_bar(marks, total, first.pixels.shape[1])
        with FilmWriter(folder / "annotated.mp4") as film:
            for frame in self._decoder.frames(path, _ALL_FRAMES):
                position = frame.index / max(1, total - 1)
                drawn = annotate(frame.pixels, marks.at(frame.index), heading, bar, position)
                film.add(drawn, frame.timestamp_ms)
