"""The pipeline on Kubeflow Pipelines 2 and Vertex AI: compiled, submitted, and run in its pods."""
