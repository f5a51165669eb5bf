"""The nodes of the pipeline, one package each, and what evaluations share."""
