"""AUC of two energies of high frequencies: a baseline without a network."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

_SIDE = 224
# Standard deviations of the blurs, in pixels of a crop of `_SIDE`, whose residue is measured.
_SCALES = (1.0, 2.0)
# Share of the crop's side around its centre that is face and nothing else.
_FACE = 0.4


def energies(crop: np.ndarray) -> np.ndarray:
    """Logarithms of the energy that two Gaussian blurs take from the middle of a face.

    Args:
      crop: uint8 [side, side, 3], BGR.

    Returns:
      float64 [2].
    """
    grey = cv2.cvtColor(cv2.resize(crop, (_SIDE, _SIDE)), cv2.COLOR_BGR2GRAY).astype(np.float32)
    border = round(_SIDE * (1 - _FACE) / 2)
    energy_maps = [np.square(grey - cv2.GaussianBlur(grey, (0, 0), scale)) for scale in _SCALES]
    middles = [energy[border:-border, border:-border].mean() for energy in energy_maps]
    # A picture without any detail has a logarithm too.
    return np.log(np.array(middles, np.float64) + 1e-3)


def two_energy_auc(
    train: Sequence[np.ndarray],
    train_labels: Sequence[int],
    test: Sequence[np.ndarray],
    test_labels: Sequence[int],
) -> float:
    """AUC on `test` of a logistic regression on `energies` that was fitted on `train`.

    Args:
      train: crops, uint8 [side, side, 3] each.
      train_labels: 1 = fake.
      test: crops of other persons.
      test_labels: 1 = fake.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=10.0))
    model.fit(np.stack([energies(crop) for crop in train]), train_labels)
    scores = model.decision_function(np.stack([energies(crop) for crop in test]))
    return float(roc_auc_score(test_labels, scores))
