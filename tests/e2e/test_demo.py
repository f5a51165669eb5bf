"""The demo as the README runs it: a gate passed on merit, on three seeds."""

import json

import pytest

from pipeline.config import load_config
from pipeline.run import run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """One output folder: the seeds share data, faces and everything before the Trainer."""
    return tmp_path_factory.mktemp("demo")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pushes_a_model_with_auc_over_the_gate(output, seed):
    # Each seed stands for itself: it is not held against the seed before it.
    overrides = [f"output={json.dumps(str(output))}", f"seed={seed}"]
    config = load_config("demo", [*overrides, "evaluation.gate.max_auc_drop=1.0"])
    assert config.evaluation.gate.min_auc >= 0.80
    assert config.model.backbone == "nasnet_mobile"
    status = run(config)
    summary = json.loads((output / "summary.json").read_text())
    print(f"seed {seed}: {summary['metrics']}")
    assert status == 0
    assert summary["metrics"]["auc"] >= 0.80
    assert summary["pushed"]
