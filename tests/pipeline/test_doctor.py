"""`deepfake doctor`: what is well is said to be, what is broken decides the exit status."""

import ast
import itertools
import platform
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline import doctor, import_times
from pipeline.commands.doctor import doctor as doctor_command
from pipeline.doctor import Finding
from preprocessing.support.versions import supported_tfx

ROOT = Path(__file__).parents[2]
DEEPFAKE = str(Path(sys.executable).parent / "deepfake")


def cheap_findings() -> dict[str, Finding]:
    """All that is looked at before programs are started and TensorFlow is loaded."""
    findings = itertools.takewhile(lambda f: f.name != "docker engine", doctor.examine())
    return {finding.name: finding for finding in findings}


@pytest.fixture
def pins(tmp_path, monkeypatch):
    """Makes the project require what the test says instead of what setup.py pins."""

    def pins(*requirements):
        folder = tmp_path / "deepfake_detection-0.1.0.dist-info"
        folder.mkdir()
        lines = ["Metadata-Version: 2.1", "Name: deepfake-detection", "Version: 0.1.0"]
        lines += [f"Requires-Dist: {requirement}" for requirement in requirements]
        (folder / "METADATA").write_text("\n".join(lines) + "\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    return pins


def modules_of_nodes() -> set[str]:
    """Where the classes of all nodes are defined, of runs and of Kubeflow, with all options on."""
    from pipeline.config import load_config
    from pipeline.inputs import Inputs
    from pipeline.pipeline import create_pipeline

    options = ["output=/out", "tuner.enabled=true", "serving.infra_validator=docker"]
    inputs = Inputs(
        "/out/manifest.csv", "0" * 64, "/data", "/out/schema.pbtxt", "/out/failures.json"
    )
    return {
        type(node).__module__
        for kubeflow in (False, True)
        for node in create_pipeline(load_config("folder", options), inputs, kubeflow).components
    }


@pytest.mark.integration
def test_this_environment_is_well_and_every_component_is_named():
    done = subprocess.run([DEEPFAKE, "doctor"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr == "", "third parties' notes are no findings"
    line = re.compile(r"^(?:ok|missing|broken) +(\S+(?: \S+)?) {2,}(.*)$", re.M)
    said = dict(line.findall(done.stdout))
    components = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in ROOT.glob("components/*/component.py")
    }
    nodes = modules_of_nodes()
    assert len(components) >= 4
    assert len(nodes) >= 15
    unknown = (components | nodes) - set(said)
    assert not unknown, "the doctor does not import these nodes"
    for name in ("python", "disk", "memory", "tensorflow", "tfx", "docker engine", "java", "gpu"):
        assert said[name]
    for name in ("docker engine", "java", "gpu"):
        assert "needed" in said[name]
    has_seccomp = Path("/proc/sys/kernel/seccomp/actions_avail").is_file()
    expected = "seccomp" if has_seccomp and platform.machine() == "x86_64" else "not refused"
    assert expected in said["decoder sandbox"]
    assert "a run can work here" in done.stdout


def test_every_pinned_package_is_compared():
    lists = {
        node.targets[0].id: node.value
        for node in ast.parse((ROOT / "setup.py").read_text()).body
        if isinstance(node, ast.Assign)
    }
    own = supported_tfx().replace(".", "_")
    names = ("COMMON", "PIPELINE_COMMON", f"SERVING_{own}", f"TFX_{own}")
    pins = [pin for name in names for pin in ast.literal_eval(lists[name])]
    pinned = dict(re.split(r"(?:\[\w+\])?==", pin) for pin in pins)
    findings = cheap_findings()
    assert set(findings) == {"python", "disk", "memory", *pinned}, "none of the other environment"
    for name, version in pinned.items():
        assert (findings[name].state, findings[name].detail) == ("ok", version)


def test_pins_of_another_python_do_not_count(pins):
    from importlib.metadata import version

    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    pins(
        f"numpy=={version('numpy')}; python_version == '{here}'",
        "numpy==0.0.1; python_version < '3.9'",
        "no-such-package==1.2; python_version < '3.9'",
    )
    findings = cheap_findings()
    assert findings["numpy"].state == "ok"
    assert "no-such-package" not in findings


def test_python_without_an_environment_is_broken(monkeypatch):
    monkeypatch.setattr(doctor, "supported_tfx", lambda: None)
    python = cheap_findings()["python"]
    assert python.state == "broken"
    assert "TFX 1.16 on 3.10" in python.detail
    assert "TFX 1.21 on 3.13" in python.detail


def test_broken_versions_are_found(pins):
    pins("numpy==0.0.1", "no-such-package==1.2", "pip==0.0.1 ; extra == 'dev'")
    findings = cheap_findings()
    assert findings["numpy"].state == "broken"
    assert "0.0.1 is pinned: run `make env`" in findings["numpy"].detail
    assert findings["no-such-package"].state == "broken"
    assert "is not installed" in findings["no-such-package"].detail
    assert "pip" not in findings, "extras are for developers"


def test_extra_of_the_pipeline_counts_where_it_is_installed(pins, monkeypatch):
    pins("numpy==0.0.1", "no-such-package==1.2 ; extra == 'pipeline'")
    assert cheap_findings()["no-such-package"].state == "broken"
    monkeypatch.setattr(doctor, "has_pipeline", lambda: False)
    findings = cheap_findings()
    assert {"memory", "numpy"} <= set(findings)
    assert "no-such-package" not in findings
    assert "server and gateway want 2 GB" in findings["memory"].detail


def test_memory_of_a_container_is_its_limit(monkeypatch):
    monkeypatch.setattr(doctor, "memory_limit", lambda: 1 << 30)
    memory = cheap_findings()["memory"]
    assert (memory.state, memory.detail.split(";")[0]) == ("broken", "1.1 GB available")


def test_right_version_with_extra_is_well(pins):
    from importlib.metadata import version

    pins(f"apache-beam[gcp]=={version('apache-beam')}")
    assert cheap_findings()["apache-beam"].state == "ok"


@pytest.mark.parametrize(
    ("states", "status", "last"),
    [
        (["ok", "missing"], 0, "a run can work here"),
        (["ok", "broken", "broken"], 1, "2 broken"),
    ],
)
def test_exit_status_follows_from_the_findings(monkeypatch, capsys, states, status, last):
    findings = [Finding(state, f"thing {n}", "detail") for n, state in enumerate(states)]
    monkeypatch.setattr(doctor, "examine", lambda: iter(findings))
    assert doctor_command() == status
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == last
    for finding in findings:
        assert re.search(rf"^{finding.state} +{finding.name} ", said, re.M)


@pytest.mark.integration
def test_imports_are_shown_by_library(monkeypatch, capsys):
    programs = {"small": ("json",), "predict": import_times.PROGRAMS["predict"]}
    monkeypatch.setattr(import_times, "PROGRAMS", programs)
    assert doctor_command(imports=True) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[-2:] == ["small", "predict"]
    seconds = {name: [float(value) for value in values] for name, *values in map(str.split, rows)}
    assert list(seconds)[-2:] == ["others", "all"]
    # It is imported for every program.
    assert min(seconds["tensorflow"]) > 0
    for column in (0, 1):
        *parts, total = (row[column] for row in seconds.values())
        assert sum(parts) == pytest.approx(total, abs=0.1)
    assert not {"keras", "apache_beam", "tfx"} & set(seconds)


def test_imports_of_a_run_are_left_out_where_tfx_is_not_installed(monkeypatch, capsys):
    programs = {"predict": ("json",), "run": ("no_such_module",)}
    monkeypatch.setattr(import_times, "PROGRAMS", programs)
    monkeypatch.setattr(import_times, "has_pipeline", lambda: False)
    assert doctor_command(imports=True) == 0
    assert capsys.readouterr().out.splitlines()[0].split()[-1] == "predict"


def test_full_disk_is_broken(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    disk = cheap_findings()["disk"]
    assert disk.state == "broken"
    assert "1 GB free" in disk.detail
