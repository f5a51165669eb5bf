"""An environment that has the project's wheel, and no checkout."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

from wheels import build_wheel

ROOT = Path(__file__).parents[2]
PACKAGES = ("components", "pipeline", "preprocessing", "serving")


def make_environment(folder: Path) -> Path:
    """Makes the environment; returns its Python.

    Other packages are those of the running environment: their folder is on the path, whose `.pth`
    files, the link to the checkout among them, Python does not read there.
    """
    source = folder / "source"
    for name in PACKAGES:
        unread = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=unread)
    shutil.copy(ROOT / "setup.py", source)
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (site_packages,) = environment.glob("lib/python*/site-packages")
    with zipfile.ZipFile(build_wheel(source)) as wheel:
        wheel.extractall(site_packages)
    shutil.rmtree(source)
    installed = sysconfig.get_path("purelib")
    (site_packages / "installed.pth").write_text(f"{installed}\n")
    return environment / "bin" / "python"
