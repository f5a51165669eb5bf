"""Run inside an image: prints files that no package accounts for, and modules without bytecode.

Of Debian's packages dpkg's lists say which files are theirs, of Python's their RECORD; bytecode
belongs to its source.
"""

import csv
import os
import re
from importlib.util import cache_from_source
from pathlib import Path

_FOLDERS = {Path(name) for name in ("/dev", "/proc", "/sys", "/run", "/tmp")}


def debian() -> set[str]:
    files: set[str] = set()
    for path in Path("/var/lib/dpkg/info").glob("*.list"):
        files.update(map(real, path.read_text().splitlines()))
    for line in Path("/var/lib/dpkg/diversions").read_text().splitlines():
        files.add(real(line))
    return files


def python() -> set[str]:
    files: set[str] = set()
    for packages in Path("/opt/deepfake/lib").glob("python3*/site-packages"):
        for record in packages.glob("*.dist-info/RECORD"):
            with record.open(newline="") as file:
                files.update(real(os.path.normpath(packages / row[0])) for row in csv.reader(file))
    return files


def real(path: str) -> str:
    """The path with links of its folders followed: /bin is /usr/bin."""
    folder, name = os.path.split(path)
    return str(Path(folder).resolve() / name)


def source_of(path: str) -> str:
    return re.sub(r"__pycache__/([^/]+?)\.cpython-\d+(\.opt-\d)?\.pyc$", r"\1.py", path)


def main() -> None:
    known = debian() | python()
    for root, folders, names in os.walk("/"):
        folders[:] = [name for name in folders if Path(root, name) not in _FOLDERS]
        for path in (real(f"{root.rstrip('/')}/{name}") for name in names):
            unknown = path not in known and source_of(path) not in known
            module = path.startswith("/opt/deepfake/lib") and path.endswith(".py")
            if unknown or (module and not Path(cache_from_source(path)).exists()):
                print(path)


if __name__ == "__main__":
    main()
