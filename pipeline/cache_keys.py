"""Digests of nodes' code for their cache keys: TFX's keys know parameters and inputs only.

Nodes that are TFX's alone (StatisticsGen, ImportSchemaGen, InfraValidator, Pusher) have no
parameter for it; a new TFX makes FaceExtractor run again, and with it all that follow. Resolver
nodes, whose strategy is ours (BlessedOtherThanCandidate), need none: TFX runs them in every run.
"""

from __future__ import annotations

from preprocessing.support.fingerprint import code_digest

# Module of the executor, or of the function that TFX's executor calls. Behind it what TFX's
# executor works with, where ours does not import it, and the package whose weights ours reads.
ENTRY_POINTS: dict[str, tuple[str, ...]] = {
    "FaceExtractor": ("components.face_extractor.executor", "mtcnn"),
    "ExampleValidator": ("components.example_validator.executor", "tensorflow_data_validation"),
    "Transform": ("components.transform.preprocessing", "tensorflow_transform", "tfx"),
    "Tuner": ("components.tuner.tuner_fn", "tfx"),
    "Trainer": ("components.trainer.run_fn", "tfx"),
    "BlessedModel": ("components.blessed_model.executor",),
    "Evaluator": ("components.evaluator.executor",),
    "ClipEvaluator": ("components.clip_evaluator.executor",),
    "ServingCheck": ("components.serving_check.executor",),
    "Report": ("components.report.executor",),
}


def node_code(node: str, *chosen: str) -> str:
    """The digest of all that a node runs, see `code_digest`.

    Args:
      node: name of the node's class, a key of `ENTRY_POINTS`.
      *chosen: modules that the configuration names, which the entry points find by that name only.
    """
    return code_digest(*ENTRY_POINTS[node], *chosen)
