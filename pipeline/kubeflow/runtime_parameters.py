"""What may be chosen when a compiled pipeline is started: how long the training lasts.

A package declares `epochs` and `steps_per_epoch`, with the values of the configuration as defaults.
Kubeflow hands them to the tasks whose properties hold them in the section `training`, and these put
them in their place before TFX reads it. The Tuner's trials have epochs of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from preprocessing.support.errors import UsageError

SECTION = "training"
NAMES = ("epochs", "steps_per_epoch")


def declare(spec: dict[str, Any]) -> None:
    """Declares the parameters of a pipeline, and hands them to the tasks that train or tell of it.

    Args:
      spec: a `PipelineSpec` as JSON values, which is changed; texts of properties are in place.
    """
    definitions: dict[str, Any] = {}
    for task in spec["root"]["dag"]["tasks"].values():
        parameters = task.get("inputs", {}).get("parameters", {})
        for given in list(parameters.values()):
            training = _training(given.get("runtimeValue", {}).get("constant"))
            if training is None:
                continue
            component = spec["components"][task["componentRef"]["name"]]
            for name in [key for key in NAMES if key in training]:
                parameters[name] = {"componentInputParameter": name}
                kind = {"parameterType": "NUMBER_INTEGER"}
                component["inputDefinitions"]["parameters"][name] = kind
                definitions[name] = {**kind, "defaultValue": training[name], "isOptional": True}
    if definitions:
        spec["root"].setdefault("inputDefinitions", {})["parameters"] = definitions


def applied(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of a task for TFX, with what was chosen at the start in its place.

    Args:
      parameters: `parameterValues` of the task's `ExecutorInput`.

    Raises:
      UsageError: a number is not whole.
    """
    chosen = {name: _whole(name, parameters[name]) for name in NAMES if name in parameters}
    properties = {name: value for name, value in parameters.items() if name not in NAMES}
    if not chosen:
        return properties
    for name, text in properties.items():
        if _training(text) is not None:
            values = json.loads(text)
            values[SECTION] |= chosen
            properties[name] = json.dumps(values, sort_keys=True)
    return properties


def _training(text: Any) -> dict[str, Any] | None:
    """The section of a property that is JSON; None where it holds none of `NAMES`."""
    if not isinstance(text, str) or not text.startswith("{") or text.startswith("{{"):
        return None
    values = json.loads(text)
    section = values.get(SECTION)
    if not isinstance(section, dict) or not any(name in section for name in NAMES):
        return None
    return section


def _whole(name: str, value: Any) -> int:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not float(value).is_integer():
        raise UsageError(f"parameter {name}: {value!r} is not a whole number")
    return int(value)
