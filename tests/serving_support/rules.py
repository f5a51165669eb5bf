"""Prometheus' alert rules of this project, and the metrics that an expression asks for."""

import re
from pathlib import Path

import yaml

import serving

_FILE = Path(serving.__file__).parent / "deploy" / "alerts.yaml"


def alert_rules() -> list[dict]:
    """All rules, with `alert`, `expr`, `labels` and `annotations`."""
    groups = yaml.safe_load(_FILE.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queried(expression: str) -> set[str]:
    """Names of the metrics in an expression."""
    return set(re.findall(r":[a-z_]+(?::[a-z_]+)+|deepfake_gateway_\w+|^up\b", expression))
