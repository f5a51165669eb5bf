"""The model card beside an exported model: its crop settings, and the meaning of its score.

Kept in the SavedModel's folder under `assets.extra`, which TensorFlow Serving leaves alone and
which goes along when the folder is copied.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from preprocessing.faces.crop_settings import BOX, LANDMARKS, CropSettings
from preprocessing.support.errors import UsageError
from preprocessing.support.readable import check_readable
from preprocessing.support.record import Record
from serving.model.conformal import ConformalClips
from serving.model.familiarity import Familiarity
from serving.model.operating_points import OperatingPoints
from serving.model.provenance import Provenance
from serving.model.rates import Rates
from serving.model.windows import WindowClips

FILE = "assets.extra/deepfake_model.json"
# Raised when a key changes its meaning or a required key is added.
VERSION = 1
# Keys that every reader may count on.
REQUIRED = ("version", "input_size", "positive_class", "temperature", "backbone")

SAVED_MODEL = "saved_model.pb"
# As JSON has them, NaN and infinity included.
_NUMBERS = re.compile(r"\[\s[-+.,\d\seEaNInfity]*\]")


def find_saved_model(model_dir: str | Path) -> Path:
    """The SavedModel that a folder means.

    Args:
      model_dir: the SavedModel itself, a Trainer's output, or a folder of pushed versions (the
        highest number is taken).

    Returns:
      The folder that holds `saved_model.pb`.

    Raises:
      UsageError: there is none.
    """
    root = Path(model_dir)
    if not root.is_dir():
        raise UsageError(f"{model_dir} is not a folder; give the folder of an exported model")
    check_readable(root)
    versions = [path for path in root.iterdir() if is_version(path.name)]
    versions.sort(key=lambda path: int(path.name), reverse=True)
    for folder in (root, root / "Format-Serving", *versions):
        if (folder / SAVED_MODEL).is_file():
            return folder
    raise UsageError(
        f"{model_dir} holds no exported model: there is no {SAVED_MODEL} in it, nor in a folder "
        "Format-Serving or with a version number as its name"
    )


def version_folders(base: Path) -> dict[int, Path]:
    """The complete versions below a folder, by number: saved_model.pb is pushed last.

    Zeros may stand before a number; of folders of one number the last by name counts, as for the
    servers.
    """
    folders = sorted(path.parent for path in base.glob(f"*/{SAVED_MODEL}"))
    return {int(folder.name): folder for folder in folders if is_version(folder.name)}


def is_version(name: str) -> bool:
    """Whether a folder of this name is a version of a model."""
    # Digits of ASCII: `int` does not read all that `isdigit` takes for one, as in "²".
    return name.isascii() and name.isdigit()


def name_and_version(saved_model: Path) -> tuple[str, int | None]:
    """What a server would call the model in a folder: the name of the folder of versions.

    Args:
      saved_model: see `find_saved_model`.

    Returns:
      The name, and the version; None where the folder is none of a version.
    """
    folder = saved_model.resolve()
    if is_version(folder.name):
        return folder.parent.name, int(folder.name)
    return folder.name, None


class ModelCard(Record):
    """What stands beside an exported model.

    Keys with a default are missing in cards of earlier versions, and may be in those of models that
    other programs exported.

    Attributes:
      version: version of the card, `VERSION`.
      input_size: side of the network's square input in pixels.
      positive_class: class that a score of 1 means.
      backbone: name of the network below the head.
      temperature: divisor of raw logits, after `offset` was added; above 0.
      offset: summand in raw logits, see `temperature`.
      extraction: settings of the crops that the model was trained on, see `crop_settings`. Kept as
        it was read: a card whose crops this version cannot make may still be shown.
      conformal: logits of val's clips, which new clips are ranked among; None where there are none.
      windows: the most suspicious windows of val's real clips; None in cards of earlier versions.
      familiarity: distances of val's clips to the training crops; None where the model does not
        say how far a crop lies.
      verdict: rates of error that verdicts keep to, where a prediction asks for no others.
      operating_points: thresholds in cards of earlier versions, which have no `conformal`.
      calibration: description of the clips that calibrated it, see `blended_fakes`.
      validation: measures of val in the epoch that was kept.
      model: the section of the configuration.
      training: the section of the configuration.
      seed: random seed of the training.
      code: digest of the trainer's code.
      data: layout and split of the dataset.
      label: label -> what it means.
      image_size: side that crops are resized to, in pixels.
      libraries: name -> version of what trained the model.
      provenance: origin of the model; None where the card does not say.
    """

    version: int
    input_size: int
    positive_class: str
    backbone: str
    temperature: float
    offset: float = 0.0
    extraction: dict[str, Any] = {}
    conformal: ConformalClips | None = None
    windows: WindowClips | None = None
    familiarity: Familiarity | None = None
    verdict: Rates | None = None
    operating_points: OperatingPoints | None = None
    calibration: dict[str, Any] | None = None
    validation: dict[str, Any] = {}
    model: dict[str, Any] = {}
    training: dict[str, Any] = {}
    seed: int = 0
    code: str = ""
    data: dict[str, Any] = {}
    label: dict[str, str] = {}
    image_size: int = 0
    libraries: dict[str, str] = {}
    provenance: Provenance | None = None

    def to_json(self) -> str:
        """The text of the file; a list of numbers takes one line."""
        text = json.dumps(self.to_dict(), indent=1, sort_keys=True)
        return _NUMBERS.sub(lambda numbers: " ".join(numbers[0].split()), text) + "\n"

    @property
    def made_data(self) -> bool:
        """Whether the model was trained on made data, see `serving.model.verdict`."""
        # Cards of earlier versions tell the demo by its layout only.
        stated = self.provenance is not None and self.provenance.made_data
        return stated or self.data.get("layout") == "demo"

    @property
    def blended_fakes(self) -> bool:
        """Whether val's fakes were blended from its real clips; False where the card is silent."""
        return bool((self.calibration or {}).get("blended_fakes", False))

    def about(self, name: str, version: int | None) -> dict[str, Any]:
        """The model as answers name it: plain values.

        Args:
          name: name of the model.
          version: version of the model; None for one without a number.
        """
        provenance = self.provenance
        return {
            "name": name,
            "version": version,
            "backbone": self.backbone,
            "about": provenance.line() if provenance else "",
            "provenance": provenance.to_dict() if provenance else None,
        }

    @property
    def wants_crops(self) -> bool:
        """Whether the model was trained on files that were crops already."""
        return bool(self.extraction.get("precropped"))

    def crop_settings(self, precropped: bool = False) -> CropSettings:
        """The crops that the model wants.

        Args:
          precropped: whether the files are crops already.

        Raises:
          UsageError: this version cannot make them, or they must be given and are not.
        """
        try:
            settings = CropSettings.from_card(self.extraction)
        except UsageError as error:
            raise UsageError(
                f"the model was trained on crops that this version cannot make ({error}); use the "
                "version of this project that trained it, or train again"
            ) from error
        if self._reads_any_crops and not precropped:
            raise UsageError(
                "the model was trained on files that were crops already, and their geometry was "
                "not measured (extraction.crop_by is box), so nobody knows how to cut faces for "
                "it; give it such crops, with --precropped"
            )
        if precropped and not self.wants_crops:
            # Loads OpenCV, which a server that reads cards does not need.
            from preprocessing.faces.crop_geometry import wanted_geometry

            # Crops that were cut elsewhere are held against the geometry of its own.
            geometry = wanted_geometry(settings)
            settings = settings.replace(
                crop_by=LANDMARKS,
                eye_distance=geometry.eye_distance,
                eye_height=geometry.eye_height,
            )
        return settings.replace(precropped=precropped)

    def answer_settings(self, precropped: bool = False) -> CropSettings:
        """The crops that the model wants of a picture or video.

        A model that was trained on crops of unknown geometry takes every picture for such a crop.

        Args:
          precropped: whether the file is said to be a crop already.

        Raises:
          UsageError: see `crop_settings`.
        """
        return self.crop_settings(precropped or self._reads_any_crops)

    @property
    def _reads_any_crops(self) -> bool:
        return self.wants_crops and self.extraction.get("crop_by", BOX) == BOX


def read(model_dir: str | Path) -> ModelCard:
    """Reads the card of a model.

    Args:
      model_dir: see `find_saved_model`.

    Raises:
      UsageError: no model, a model without a card of this project, a card of another version, or
        a card that lacks a key or holds a value of another type.
    """
    folder = find_saved_model(model_dir)
    path = folder / FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"the model in {folder} was not exported by this pipeline: {FILE} is missing, so "
            "nobody knows which crops it wants; use a model that the pipeline pushed"
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({error}); export the model again") from error
    missing = [key for key in REQUIRED if key not in values] if isinstance(values, dict) else []
    if not isinstance(values, dict) or missing:
        raise UsageError(f"{path} is incomplete (without {', '.join(missing) or 'any key'})")
    if values["version"] != VERSION:
        raise UsageError(
            f"{path} has version {values['version']}, and this program reads version {VERSION}; "
            "use the program that exported the model, or export it again"
        )
    try:
        return ModelCard.from_dict(values)
    except UsageError as error:
        raise UsageError(f"{path}: {error}; export the model again") from error
