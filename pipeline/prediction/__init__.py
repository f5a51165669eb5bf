"""Answers about many files: what `deepfake predict` is given, who answers, and what it prints."""
