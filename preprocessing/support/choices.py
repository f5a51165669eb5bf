"""Names that the configuration and the command line may use for data; imports nothing heavy."""

from __future__ import annotations

from typing import Literal

# How clips are divided into train, val and test; see preprocessing/manifest/splits.py.
SplitProtocol = Literal["auto", "official", "identity", "clip"]
# How hard fakes of the demo dataset are to tell from reals; see preprocessing/datasets/demo.py.
Difficulty = Literal["easy", "hard"]
