"""Clients of any TensorFlow Serving compatible server: one interface over gRPC and REST.

    with connect("grpc://127.0.0.1:8500", "demo") as scorer:
        scores = scorer.score([jpeg, jpeg])

`connect` imports only what its protocol needs; REST needs no TensorFlow.
"""

from serving.clients.base import ClientSettings, CropScores, Scorer, ScoringError
from serving.clients.connection import check_address, connect

__all__ = ["ClientSettings", "CropScores", "Scorer", "ScoringError", "check_address", "connect"]
