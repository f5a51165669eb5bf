"""ExampleValidator that stops the run: training on broken data wastes hours and hides the cause."""

from __future__ import annotations

from typing import Any

from tfx.components.example_validator import component
from tfx.dsl.components.base import executor_spec

from components.example_validator import executor


class ExampleValidator(component.ExampleValidator):
    """TFX's ExampleValidator, except that anomalies fail the execution.

    Component `outputs` contains:
     - `anomalies`: Channel of type `standard_artifacts.ExampleAnomalies`.

    Args:
      code: digest of the validation's code.
      **parameters: those of TFX's ExampleValidator.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, code: str, **parameters: Any):
        super().__init__(**parameters)
        # TFX's component makes its own spec, which knows no digest of code.
        self.spec.exec_properties["code"] = code
