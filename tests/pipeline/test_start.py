"""Programs that run models import what they use, and neither Keras, Beam nor TFX."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.model import starter

CLIP = Path(__file__).parents[1] / "media" / "anareal121.mp4"
# What each program does until it answers; the servers then look at what they imported.
PREDICT = f"""
from pipeline.cli import main
assert main(["predict", {str(CLIP)!r}]) == 0
look()
"""
SERVE = f"""
from serving.server import main
from serving.server.arguments import ServerArguments
main.wait_for_end = lambda *_: look()
arguments = ServerArguments(model_base={str(starter.FOLDER)!r}, port=0, rest_port=0)
assert main.run(arguments) == 0
"""
GATEWAY = """
from serving.gateway import main
from serving.gateway.arguments import GatewayArguments
main.wait_for_end = lambda *_: look()
assert main.run(GatewayArguments(server="grpc://127.0.0.1:9", port=0, workers=1)) == 0
"""
WITHOUT = {"keras", "tf_keras", "apache_beam", "tfx", "tensorflow_transform", "mtcnn"}


def python(code: str, legacy: str) -> subprocess.CompletedProcess[str]:
    # Other tests of this process may have set it.
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": legacy}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )


@pytest.mark.integration
@pytest.mark.parametrize(
    ("program", "legacy"),
    [(PREDICT, ""), (SERVE, "1"), (GATEWAY, "")],
    ids=["predict", "serve", "gateway"],
)
def test_a_program_that_runs_a_model_imports_what_it_uses(program, legacy):
    """With either Keras that TensorFlow may import: ServingCheck has the server use the old one."""
    look = (
        "import sys\n"
        "def look():\n"
        "    assert 'tensorflow' in sys.modules\n"
        f"    print('imported:', sorted({WITHOUT} & set(sys.modules)))\n"
    )
    done = python(look + program, legacy)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "imported: []"


def test_keras_can_be_imported_afterwards():
    code = (
        "import sys\n"
        "from preprocessing.support.without_keras import without_keras\n"
        "with without_keras():\n"
        "    import tensorflow as tf\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'keras']\n"
        "with without_keras():\n"
        "    import keras\n"
        "assert tf.keras.Model is keras.Model\n"
        "assert keras.layers.Dense(1)(tf.ones((2, 3))).shape == (2, 1)\n"
        "from tensorflow.keras import layers\n"
        "assert layers.Dense is keras.layers.Dense\n"
    )
    done = python(code, "")
    assert done.returncode == 0, done.stderr
