"""`deepfake compile`: what is written, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from compiled_pipeline import compile_arguments, compile_to, error_of, make_volume

from pipeline.cli import main
from pipeline.config import presets
from pipeline.kubeflow.config import NODES

pytestmark = pytest.mark.integration

UV = Path(sys.executable).with_name("uv")
# Of kfp, kfp-pipeline-spec and kfp-kubernetes: what there was when it was last looked.
KFP = "2.17.3"
GOLDEN = Path(__file__).parent / "golden" / "pipeline.yaml"
MACHINES = (
    "kubeflow.resources=['cpu=2,memory=8', 'Trainer:cpu=8,memory=32,gpus=1']",
    "kubeflow.node_selector=['disk=ssd', 'Trainer:gpu=a100']",
    "kubeflow.tolerations=['Trainer:nvidia.com/gpu:NoSchedule', 'pool=ml:NoExecute']",
    "kubeflow.pull_secrets=[registry]",
    "kubeflow.volume=data",
    "kubeflow.mount_path=/mnt/deepfake",
    "kubeflow.retries=2",
)


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    return make_volume(tmp_path_factory.mktemp("volume"))


def test_compile_for_kubeflow_writes_paths_as_tasks_see_them(volume, tmp_path, capsys):
    file = tmp_path / "pipeline.yaml"
    assert main(["compile", *compile_arguments(volume, "kubeflow", "--file", str(file))]) == 0
    assert capsys.readouterr().out.endswith(f"wrote {file}\n")
    text = file.read_text()
    assert str(volume) not in text
    spec, platform = yaml.safe_load_all(text)
    extractor = spec["root"]["dag"]["tasks"]["face-extractor"]["inputs"]["parameters"]
    assert extractor["root"]["runtimeValue"]["constant"] == "/mnt/deepfake/data"
    manifest = extractor["manifest"]["runtimeValue"]["constant"]
    assert manifest.startswith("/mnt/deepfake/out/inputs/manifest-")
    assert (volume / manifest.removeprefix("/mnt/deepfake/")).is_file()
    pusher = spec["root"]["dag"]["tasks"]["pusher"]["inputs"]["parameters"]
    destination = json.loads(pusher["push_destination"]["runtimeValue"]["constant"])
    assert destination["filesystem"]["base_directory"] == "/mnt/deepfake/out/models/folder"
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(executors) == set(spec["deploymentSpec"]["executors"])


def test_weights_are_named_as_tasks_see_them(volume, tmp_path, monkeypatch):
    file = tmp_path / "pipeline.yaml"
    (volume / "weights.h5").write_bytes(b"weights")
    (tmp_path / "link.h5").symlink_to(volume / "weights.h5")
    monkeypatch.setenv("HOME", str(volume))
    named = ((volume, "weights.h5"), (tmp_path, "link.h5"), (tmp_path, "~/weights.h5"))
    for folder, name in named:
        monkeypatch.chdir(folder)
        more = ("--file", str(file), "--set", f"model.weights={name}")
        assert main(["compile", *compile_arguments(volume, "kubeflow", *more)]) == 0
        tasks = next(yaml.safe_load_all(file.read_text()))["root"]["dag"]["tasks"]
        parameters = tasks["trainer"]["inputs"]["parameters"]
        custom = json.loads(parameters["custom_config"]["runtimeValue"]["constant"])
        assert custom["model"]["weights"] == "/mnt/deepfake/weights.h5"


def test_compile_for_vertex_writes_to_the_bucket(volume, tmp_path):
    file = tmp_path / "pipeline.json"
    assert main(["compile", *compile_arguments(volume, "vertex", "--file", str(file))]) == 0
    job = json.loads(file.read_text())
    assert str(volume) not in file.read_text()
    assert job["runtimeConfig"]["gcsOutputDirectory"] == "gs://bucket/deepfake/out/artifacts"
    extractor = job["pipelineSpec"]["root"]["dag"]["tasks"]["face-extractor"]["inputs"]
    root = extractor["parameters"]["root"]["runtimeValue"]["constant"]
    assert root == "/gcs/bucket/deepfake/data"


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Of each preset the package and the job, and a package with all of a platform document."""
    folder = tmp_path_factory.mktemp("packages")
    made = {
        preset: [compile_to(folder / f"{preset}{end}", preset=preset) for end in (".yaml", ".json")]
        for preset in presets()
    }
    return {**made, "machines": [compile_to(folder / "machines.yaml", *MACHINES)]}


@pytest.mark.parametrize("preset", presets())
def test_every_preset_compiles_the_same_each_time(preset, packages, tmp_path):
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    package, job = packages[preset]
    again = compile_to(tmp_path / "again.yaml", preset=preset)
    assert package.read_bytes() == again.read_bytes()
    spec, platform = yaml.safe_load_all(package.read_text())
    parsed = json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    assert parsed.pipeline_info.name == spec["pipelineInfo"]["name"]
    json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
    assert set(spec["components"]) <= set(NODES)
    json_format.ParseDict(json.loads(job.read_text()), pipeline_spec_pb2.PipelineJob())


@pytest.fixture(scope="module")
def newest_kfp():
    """A command that parses files with the newest kfp, which runs in neither environment."""
    command = [
        *(
            UV,
            "run",
            "--no-project",
            "--python",
            sys.executable,
            "--with",
            f"kfp-kubernetes=={KFP}",
        ),
        *("--with", f"kfp-pipeline-spec=={KFP}", "python"),
    ]
    made = subprocess.run([*command, "-c", "import yaml"], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"kfp-kubernetes {KFP} cannot be installed: {made.stderr[-300:]}")
    script = Path(__file__).with_name("parsed_by_kfp.py")
    return lambda *files: subprocess.run(
        [*command, script, *files], capture_output=True, text=True, timeout=300
    )


def test_packages_parse_as_the_newest_kfp_has_them(newest_kfp, packages, tmp_path):
    files = [str(file) for made in packages.values() for file in made] + [str(GOLDEN)]
    parsed = newest_kfp(*files)
    assert parsed.returncode == 0, parsed.stderr[-3000:]
    assert parsed.stdout.split() == files
    # It would see what no version knows.
    text = packages["machines"][0].read_text()
    for known, unknown in (("pvcMount:", "pvcMounts:"), ("retryPolicy:", "retryPolice:")):
        assert known in text
        (tmp_path / "wrong.yaml").write_text(text.replace(known, unknown))
        parsed = newest_kfp(tmp_path / "wrong.yaml")
        assert unknown.strip(":") in parsed.stderr


def test_names_are_normalised(tmp_path):
    spec = next(yaml.safe_load_all(compile_to(tmp_path / "a.yaml", "name=Celeb_DF").read_text()))
    assert spec["pipelineInfo"]["name"] == "celeb-df"
    # The folder of pushed models keeps the name of the configuration.
    pusher = spec["root"]["dag"]["tasks"]["pusher"]["inputs"]["parameters"]
    assert "models/Celeb_DF" in pusher["push_destination"]["runtimeValue"]["constant"]


def test_machines_follow_the_configuration(packages):
    spec, platform = yaml.safe_load_all(packages["machines"][0].read_text())
    executors = spec["deploymentSpec"]["executors"]
    amounts = {"cpuLimit": 2.0, "cpuRequest": 2.0, "memoryLimit": 8.0, "memoryRequest": 8.0}
    assert executors["Pusher_executor"]["container"]["resources"] == amounts
    trainer = executors["Trainer_executor"]["container"]["resources"]
    assert trainer["cpuLimit"] == 8.0
    assert trainer["accelerator"] == {"type": "nvidia.com/gpu", "count": "1"}
    assert {
        task["retryPolicy"]["maxRetryCount"] for task in spec["root"]["dag"]["tasks"].values()
    } == {2}
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert pods["Trainer_executor"] == {
        "pvcMount": [{"constant": "data", "mountPath": "/mnt/deepfake"}],
        "nodeSelector": {"labels": {"disk": "ssd", "gpu": "a100"}},
        "tolerations": [
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
            {"key": "pool", "operator": "Equal", "value": "ml", "effect": "NoExecute"},
        ],
        "imagePullSecret": [{"secretName": "registry"}],
    }
    assert pods["Pusher_executor"]["nodeSelector"] == {"labels": {"disk": "ssd"}}
    assert len(pods["Pusher_executor"]["tolerations"]) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("kubeflow.resources=['Triner:cpu=2']", ["'Triner'", "did you mean 'Trainer'"]),
        ("kubeflow.resources=['cpus=2']", ["'cpus=2'", "cpu=, memory= or gpus="]),
        ("kubeflow.resources=['cpu=much']", ["'much' is not a number"]),
        ("kubeflow.resources=['gpus=0.5']", ["0.5 is no amount of gpus"]),
        ("kubeflow.tolerations=['gpu=yes:Never']", ["'gpu=yes:Never'", "NoSchedule"]),
        ("kubeflow.node_selector=['ssd']", ["'ssd'", "LABEL=VALUE"]),
        ("kubeflow.root=/mnt/deepfake/artifacts", ["must begin with", "minio://"]),
        ("kubeflow.mount_path=mnt", ["'mnt'", "absolute"]),
        ("kubeflow.volume=My_Volume", ["'My_Volume'", "Kubernetes"]),
        ("kubeflow.retries=-1", ["retries"]),
        ("kubeflow.secrets=['bucket']", ["'bucket'", "SECRET:KEY"]),
        ("name=größe", ["'größe'", "letters a to z"]),
        ("kubeflow.volume=", ["kubeflow.volume is empty", "PersistentVolumeClaim"]),
        ("serving.infra_validator=docker", ["InfraValidator", "set it to none"]),
        ("model.weights=/home/me/w.h5", ["model.weights: /home/me/w.h5 is on this machine alone"]),
        ("model.weights=~nobody-here/w.h5", ["~nobody-here/w.h5 is on this machine alone"]),
        ("kubeflow.local_mount=/mnt/other", ["out is on this machine alone", "/mnt/other"]),
    ],
)
def test_compile_refuses_what_no_cluster_can_run(volume, tmp_path, capsys, change, words):
    file = tmp_path / "pipeline.yaml"
    options = compile_arguments(volume, "kubeflow", "--file", str(file), "--set", change)
    assert main(["compile", *options]) == 2
    line = error_of(capsys)
    for word in words:
        assert word in line
    assert not file.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "kubeflow.mount_path=/mnt/deepfake"], ["/gcs/BUCKET"]),
        (["--set", "kubeflow.root=s3://bucket/root"], ["gs:// only"]),
        (["--file", "pipeline.yaml"], ["pipeline.yaml", ".json"]),
        (["--file", "nowhere/pipeline.json"], ["nowhere/pipeline.json", "does not exist"]),
    ],
)
def test_compile_refuses_what_vertex_cannot_run(volume, capsys, options, words):
    assert main(["compile", *compile_arguments(volume, "vertex", *options)]) == 2
    line = error_of(capsys)
    for word in words:
        assert word in line
