"""The DAG, its configuration, and the commands."""
