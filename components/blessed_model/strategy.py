"""The baseline of a candidate: the newest other model that was blessed."""

from __future__ import annotations

import logging
from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.common import resolver
from tfx.utils import path_utils

from components.evaluation.blessing import FINAL_PROPERTY, MODEL_ID_PROPERTY
from serving.model.card import SAVED_MODEL
from serving.model.restoring import restore


class BlessedOtherThanCandidate(resolver.ResolverStrategy):
    """Resolves the newest blessed Model that is not the candidate.

    TFX's LatestBlessedModelStrategy would resolve, in a second run of unchanged inputs, the very
    model that the first run blessed: the Evaluator would run again to compare it with itself.

    A candidate that comes from the cache may be older than the newest. It is compared with that one
    all the same, for it would take its place: an earlier configuration, run again, is judged once
    more, against what was pushed since.

    Blessed means by ClipEvaluator, whose blessing takes the Evaluator's in, and not refused by
    ServingCheck: a model whose frames alone were blessed, or that could not be served, was not
    pushed. One that a later, stricter gate refused stays a baseline, because it stays pushed.

    Where its files were deleted, they are put back from the version that Pusher made of it. Where
    that is deleted, too, the evaluators end the run: it goes on after a resolver that fails, and
    would compare with nothing.

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
        # The last of each model: one from the cache may have been judged anew, and so pushed anew.
        blessings = {
            blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY): (
                blessing
            )
            for blessing in sorted(input_dict["model_blessing"], key=lambda blessing: blessing.id)
            if blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY) == 1
            and blessing.get_int_custom_property(FINAL_PROPERTY) == 1
        }
        served: dict[int, bool] = {}
        for blessing in input_dict["infra_blessing"]:
            model = blessing.get_int_custom_property(MODEL_ID_PROPERTY)
            blessed = blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY) == 1
            # A model may be checked twice: a gate that refused it once may pass it later.
            served[model] = served.get(model, False) or blessed
        candidate = max((model.id for model in input_dict["candidate"]), default=None)
        candidates = [
            model
            for model in input_dict["model"]
            if candidate not in (None, model.id)
            and model.id in blessings
            and served.get(model.id, True)
        ]
        if candidates:
            baseline = max(candidates, key=lambda model: blessings[model.id].id)
            _put_back(store, baseline)
            channels["model"] = [baseline]
            channels["model_blessing"] = [blessings[baseline.id]]
        return channels


def _put_back(store: mlmd.MetadataStore, model: types.Artifact) -> None:
    folder = Path(path_utils.serving_model_dir(model.uri))
    if (folder / SAVED_MODEL).is_file():
        return
    for version in _pushed_versions(store, model.id):
        if (version / SAVED_MODEL).is_file():
            try:
                restore(folder, version)
            except OSError as error:
                logging.warning("%s cannot be put back from %s: %s", folder, version, error)
            else:
                logging.info("%s was deleted, and was put back from %s", folder, version)
                return


def _pushed_versions(store: mlmd.MetadataStore, model: int) -> list[Path]:
    """Folders of the versions that Pusher made of a model, which may be deleted since."""
    event = metadata_store_pb2.Event
    readers = {
        read.execution_id
        for read in store.get_events_by_artifact_ids([model])
        if read.type == event.INPUT
    }
    outputs = {
        written.artifact_id
        for written in store.get_events_by_execution_ids(sorted(readers))
        if written.type == event.OUTPUT
    }
    # Of all nodes that read a model, Pusher alone names a destination.
    destinations = [
        artifact.custom_properties["pushed_destination"].string_value
        for artifact in store.get_artifacts_by_id(sorted(outputs))
        if "pushed_destination" in artifact.custom_properties
    ]
    return [Path(destination) for destination in destinations]
