"""What an answer looks like: annotated frames and films, and the scores over time."""
