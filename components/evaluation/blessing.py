"""Properties of our blessings, for the nodes that give them and those that look for them."""

from __future__ import annotations

# On ClipEvaluator's blessing: it is the last word, frames and clips together.
FINAL_PROPERTY = "final"
# On ServingCheck's blessing: the model that it is about. InfraValidator's does not say.
MODEL_ID_PROPERTY = "current_model_id"
