"""Layouts of datasets: which clips a folder holds, and what is known of each."""
