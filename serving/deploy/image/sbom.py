"""Writes the bill of materials of an image, in CycloneDX 1.5: sbom.py FILE.

Components are Debian's packages and the Python packages of /opt/deepfake, with versions, package
URLs (https://github.com/package-url/purl-spec) and licences as they declare them. Where the texts
of the licences lie is a property of each.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

ENVIRONMENT = Path("/opt/deepfake")
PROJECT = "deepfake-detection"
_FIELDS = "${db:Status-Abbrev}\t${binary:Package}\t${Version}\t${Architecture}\n"
_LICENCE = re.compile(r"^License:[ \t]*(\S.*)$", re.MULTILINE)
_LONGEST_NAME = 200


def debian_packages() -> list[dict]:
    """Installed packages of dpkg's list."""
    listed = subprocess.run(
        ["/usr/bin/dpkg-query", "--show", f"--showformat={_FIELDS}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    packages = []
    for line in listed.splitlines():
        status, name, version, architecture = line.split("\t")
        if not status.startswith("ii"):
            continue
        name = name.partition(":")[0]
        text = Path("/usr/share/doc", name, "copyright")
        names = _LICENCE.findall(text.read_text(errors="replace")) if text.is_file() else []
        purl = f"pkg:deb/debian/{name}@{version}?arch={architecture}"
        texts = [text] if text.is_file() else []
        packages.append(component(name, version, purl, sorted(set(names)), texts))
    return packages


def python_packages(folder: Path) -> list[dict]:
    """Distributions below a folder of packages; the project itself is not among them."""
    packages = []
    for distribution in importlib.metadata.distributions(path=[str(folder)]):
        metadata = distribution.metadata
        name = re.sub(r"[-_.]+", "-", metadata["Name"]).lower()
        if name == PROJECT:
            continue
        texts = [
            Path(str(distribution.locate_file(file)))
            for file in distribution.files or ()
            if re.search(r"dist-info/(licenses/|LICEN[CS]E|COPYING|NOTICE)", str(file))
        ]
        purl = f"pkg:pypi/{name}@{distribution.version}"
        packages.append(component(name, distribution.version, purl, licences(metadata), texts))
    return packages


def licences(metadata: importlib.metadata.PackageMetadata) -> list[str]:
    """Names of the licences that a distribution declares, in the order of precision."""
    if expression := metadata.get("License-Expression"):
        return [expression]
    classifiers = metadata.get_all("Classifier") or []
    names = [text.rpartition(" :: ")[2] for text in classifiers if text.startswith("License ::")]
    stated = (metadata.get("License") or "").strip()
    # Some put the whole text there.
    if stated and "\n" not in stated and len(stated) <= _LONGEST_NAME:
        names.append(stated)
    return sorted(set(names))


def component(name: str, version: str, purl: str, names: list[str], texts: list[Path]) -> dict:
    """A component of the bill of materials."""
    entry: dict = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
    }
    if names:
        entry["licenses"] = [{"license": {"name": licence}} for licence in names]
    if texts:
        entry["properties"] = [{"name": "licence text", "value": str(text)} for text in texts]
    return entry


def main() -> None:
    """Writes the file that the command line names."""
    (folder,) = ENVIRONMENT.glob("lib/python3*/site-packages")
    version = next(
        distribution.version
        for distribution in importlib.metadata.distributions(path=[str(folder)])
        if distribution.metadata["Name"] == PROJECT
    )
    components = sorted(
        [*debian_packages(), *python_packages(folder)], key=lambda entry: entry["bom-ref"]
    )
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": PROJECT, "version": version}},
        "components": components,
    }
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
