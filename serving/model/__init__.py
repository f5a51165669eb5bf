"""The contract of a model: its card, what joins its logits, its verdicts and its warm-up."""
