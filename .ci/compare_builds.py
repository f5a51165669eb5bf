"""Builds an image twice from nothing and lists what differs: python .ci/compare_builds.py [TARGET].

TARGET is serve or pipeline. The status is 1 where files differ, by content, kind, mode, owner or
time. What .ci/images reads may be given, SOURCE_DATE_EPOCH as well.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

SCRIPT = Path(__file__).with_name("images")


def built(target: str, engine: str) -> dict[str, tuple]:
    """Builds an image from nothing.

    Returns:
      By path what a file is: kind, mode, owner, time, where a link leads, SHA-256 of the content.
    """
    environment = {"SOURCE_DATE_EPOCH": "1700000000", **os.environ, "NO_CACHE": "1"}
    done = subprocess.run([SCRIPT, target], env=environment, stdout=subprocess.PIPE, text=True)
    said = re.search(r"^(\S+:\S+): \d+ MB, built in \d+ s$", done.stdout, re.M)
    if done.returncode or not said:
        raise SystemExit(f"error: {SCRIPT} {target} failed")
    print(said[0], flush=True)
    container = run(engine, "create", said[1])
    try:
        return files_of(container, engine)
    finally:
        run(engine, "rm", container)


def run(*command: str) -> str:
    """What a program prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def files_of(container: str, engine: str) -> dict[str, tuple]:
    """The files of a container; see `built`."""
    files = {}
    with (
        subprocess.Popen([engine, "export", container], stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for entry in archive:
            content = archive.extractfile(entry) if entry.isreg() else None
            digest = hashlib.sha256(content.read()).hexdigest() if content else ""
            owner = f"{entry.uid}:{entry.gid}"
            files[entry.name] = (
                *(entry.type, oct(entry.mode), owner, entry.mtime, entry.linkname),
                digest,
            )
    return files


def main() -> int:
    """Compares two builds; returns the exit status."""
    target = sys.argv[1] if len(sys.argv) > 1 else "serve"
    engine = os.environ.get("ENGINE", "podman")
    first, second = built(target, engine), built(target, engine)
    differing = sorted(
        path for path in first.keys() | second.keys() if first.get(path) != second.get(path)
    )
    for path in differing:
        print(f"differs: {path} {first.get(path)} {second.get(path)}")
    print(f"{len(differing)} of {len(first)} files differ")
    return 1 if differing or not first else 0


if __name__ == "__main__":
    sys.exit(main())
