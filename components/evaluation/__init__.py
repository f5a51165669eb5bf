"""What the evaluators, the report and the serving check share: scores, metrics, slices, gates."""
