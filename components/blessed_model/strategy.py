"""The baseline of a candidate: the last model that was blessed before it was trained."""

from __future__ import annotations

import ml_metadata as mlmd
from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.common import resolver

from components.evaluation.blessing import FINAL_PROPERTY, MODEL_ID_PROPERTY


class BlessedBeforeCandidate(resolver.ResolverStrategy):
    """Resolves the latest blessed Model that is older than the candidate.

    TFX's LatestBlessedModelStrategy would resolve, in a second run of unchanged inputs, the very
    model that the first run blessed: the Evaluator would run again to compare it with itself.

    Blessed means by ClipEvaluator, whose blessing takes the Evaluator's in, and not refused by
    ServingCheck: a model whose frames alone were blessed, or that could not be served, was not
    pushed. One that a later, stricter gate refused stays a baseline, because it stays pushed.

    The input channels are `candidate` (Model), `model` (Model), `model_blessing` (ModelBlessing)
    and `infra_blessing` (InfraBlessing); the middle two are resolved, to nothing where there is no
    such model.
    """

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Returns the baseline and its blessing, or empty lists."""
        channels: dict[str, list[types.Artifact]] = {
            "candidate": input_dict["candidate"],
            "model": [],
            "model_blessing": [],
            "infra_blessing": [],
        }
        blessings = {
            blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY): (
                blessing
            )
            for blessing in input_dict["model_blessing"]
            if blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY) == 1
            and blessing.get_int_custom_property(FINAL_PROPERTY) == 1
        }
        served: dict[int, bool] = {}
        for blessing in input_dict["infra_blessing"]:
            model = blessing.get_int_custom_property(MODEL_ID_PROPERTY)
            blessed = blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY) == 1
            # A model may be checked twice: a gate that refused it once may pass it later.
            served[model] = served.get(model, False) or blessed
        candidate = max((model.id for model in input_dict["candidate"]), default=0)
        candidates = [
            model
            for model in input_dict["model"]
            if model.id < candidate and model.id in blessings and served.get(model.id, True)
        ]
        if candidates:
            baseline = max(candidates, key=lambda model: model.id)
            channels["model"] = [baseline]
            channels["model_blessing"] = [blessings[baseline.id]]
        return channels
