"""What evaluator, clip evaluator and report share."""
