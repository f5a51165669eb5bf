"""TFX's Evaluator with our slices and a verdict that refuses what was not measured."""

from __future__ import annotations

from typing import Any

from tfx.components.evaluator import component
from tfx.dsl.components.base import executor_spec

from components.evaluator import executor


class Evaluator(component.Evaluator):
    """See `tfx.components.Evaluator`; inputs and outputs are the same.

    Args:
      code: digest of the evaluation's code.
      **parameters: those of TFX's Evaluator.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(self, code: str, **parameters: Any):
        super().__init__(**parameters)
        # TFX's component makes its own spec, which knows no digest of code.
        self.spec.exec_properties["code"] = code
