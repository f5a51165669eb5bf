"""Folders of clips that are texts, and their manifests."""

from pathlib import Path

from preprocessing.manifest.build import build_manifest
from preprocessing.manifest.manifest import Manifest


def put(root: Path, name: str, content: str | None = None) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name if content is None else content)
    return path


def build(root: Path, protocol="identity", layout="auto", **more) -> Manifest:
    return build_manifest(root, layout, protocol, 0.2, 0.2, 1, **more)
