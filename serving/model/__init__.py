"""The contract of a model: its card, what joins its logits, its thresholds, verdict and warm-up."""
