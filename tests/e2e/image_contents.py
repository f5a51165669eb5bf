"""What an image holds that nothing accounts for."""

from __future__ import annotations

import re
from pathlib import Path

from e2e.containers import BASE_IMAGE, Podman

# What scripts of Debian's packages, venv and the recipe make, beside what the base holds.
MADE = re.compile(
    r"/var/lib/(dpkg|python)/.*|/var/lib/apt/extended_states|/var/cache/apt/archives/lock"
    r"|/etc/(inputrc|networks|python3/debian_config)"
    r"|/opt/deepfake/(pyvenv\.cfg|\.gitignore|\.lock|bin/(python|[Aa]ctivate)\S*)"
    r"|/usr/share/doc/deepfake-detection/(copyright|sbom\.cdx\.json)"
)


def unknown_files(podman: Podman, image: str) -> set[str]:
    """Files beyond the base's that neither a package nor the recipe accounts for.

    Modules of Python without bytecode are among them.
    """
    script = Path(__file__).with_name("account_for_files.py")
    done = podman.inside(
        *(image, "/tmp/script.py"),
        options=("--entrypoint", "python", "--volume", f"{script}:/tmp/script.py:ro"),
    )
    listed = podman("run", "--rm", BASE_IMAGE, "find", "/", "-xdev", "!", "-type", "d")
    files = set(done.stdout.splitlines())
    assert files, "the script finds what is made"
    unknown = files - set(listed.stdout.splitlines())
    return {path for path in unknown if not MADE.fullmatch(path)}
