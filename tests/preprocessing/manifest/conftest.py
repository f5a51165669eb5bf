from pathlib import Path

import pytest
from manifests import put


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for i in range(8):
        put(root, f"real/{i}.mp4")
        put(root, f"fake/{i}.mp4")
    return root
