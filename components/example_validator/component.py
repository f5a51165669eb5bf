"""ExampleValidator that stops the run: training on broken data wastes hours and hides the cause."""

from __future__ import annotations

from tfx.components.example_validator import component
from tfx.dsl.components.base import executor_spec

from components.example_validator import executor


class ExampleValidator(component.ExampleValidator):
    """TFX's ExampleValidator, except that anomalies fail the execution.

    Component `outputs` contains:
     - `anomalies`: Channel of type `standard_artifacts.ExampleAnomalies`.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
