"""The project's wheel."""

import subprocess
import sys
from pathlib import Path


def build_wheel(source: Path) -> Path:
    """Builds the wheel of a folder with `setup.py` and the packages; returns its path."""
    build = [sys.executable, "setup.py", "-q", "bdist_wheel", "--dist-dir", "wheel"]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (wheel,) = (source / "wheel").glob("*.whl")
    return wheel
