"""`deepfake extract --part`: parts fill one store, from which the rest of the pipeline goes on."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from extraction import shards
from made_media import face_video, write_clips
from serving_support.gateway import until

import pipeline
from pipeline.cli import main
from pipeline.config import presets
from pipeline.kubeflow.config import KubeflowConfig

pytestmark = pytest.mark.integration

DEEPFAKE = str(Path(sys.executable).parent / "deepfake")
SETTINGS = ("extraction.frames_per_clip=2", "data.split=clip")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four clips of each class, one of them without a face."""
    root = tmp_path_factory.mktemp("data")
    write_clips(root, 4, "{label}{number}.mp4")
    return root


def arguments(data, output, *more):
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    return ["extract", "--data", str(data), "--output", str(output), *settings, *more]


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The same clips extracted at once."""
    output = tmp_path_factory.mktemp("whole")
    assert main(arguments(data, output)) == 4
    return output


def finished(output):
    """Name -> time of change of what the face store holds."""
    files = (output / "face-store").rglob("*.tfrecord")
    return {path.name: path.stat().st_mtime_ns for path in files}


@pytest.mark.slow
def test_parts_at_once_give_the_same_records(data, whole, tmp_path, capfd):
    """The second part twice: a scheduler may start a task again while it still runs.

    One of them stands still until the others have ended, as a straggler.
    """
    output = tmp_path / "out"
    running = [
        subprocess.Popen(
            [DEEPFAKE, *arguments(data, output, "--part", f"{number}/2")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (2, 2, 1)
    ]
    straggler, *others = running
    try:
        until((output / "face-store").is_dir, "a part extracts", 300)
        straggler.send_signal(signal.SIGSTOP)
        ended = [process.communicate(timeout=600) for process in others]
        assert main(arguments(data, output, "--status")) == 0, "it is not waited for"
        capfd.readouterr()
        straggler.send_signal(signal.SIGCONT)
        ended.append(straggler.communicate(timeout=600))
    finally:
        for process in running:
            process.kill()
            process.wait()
    statuses = [process.returncode for process in running]
    assert set(statuses) == {0, 4}, ended
    assert sum("with faces" in out for out, _ in ended) == 3

    assert main(arguments(data, output, "--status")) == 0
    said = capfd.readouterr().out
    assert "9 clips: 8 done with faces, 1 done without, 0 failed, 0 to do" in said
    assert "1 without a face: no face" in said

    before = finished(output)
    assert len(before) == 9
    assert main(arguments(data, output)) == 4
    assert finished(output) == before, "nothing was extracted again"
    assert shards(output / "faces") == shards(whole / "faces")
    assert not list(output.rglob("*.tmp"))
    # Nor was a clip hashed again, other than by a part.
    known = [json.loads(path.read_text()) for path in output.glob("inputs/hashes-*.json")]
    assert sum(map(len, known)) == 9


def test_what_is_to_do_is_told(data, tmp_path, capfd):
    output = tmp_path / "out"
    assert main(arguments(data, output, "--status")) == 2
    assert "nothing was extracted into" in capfd.readouterr().err
    assert main(arguments(data, output, "--part", "2/3")) in (0, 4)
    capfd.readouterr()
    assert main(arguments(data, output, "--status")) == 4
    assert "0 failed, 6 to do" in capfd.readouterr().out


def test_a_clip_whose_original_has_changed_is_to_do(tmp_path, capfd):
    root, output = tmp_path / "data", tmp_path / "out"
    for name in ("real/id0_0001.mp4", "fake/id0_id1_0001.mp4"):
        (root / name).parent.mkdir(parents=True)
        face_video(root / name, 3)
    more = ["--set", "extraction.boxes_of_original=true"]
    assert main(arguments(root, output, "--part", "1/1", *more)) == 0
    assert main(arguments(root, output, "--status", *more)) == 0
    os.utime(root / "real/id0_0001.mp4", (1, 2**31))
    capfd.readouterr()
    assert main(arguments(root, output, "--status", *more)) == 4
    # The original itself is not known any more, until it is hashed again.
    assert "2 clips: 0 done with faces, 0 done without, 0 failed, 2 to do" in capfd.readouterr().out
    assert main(arguments(root, output, "--part", "1/1", *more)) == 0
    assert main(arguments(root, output, "--status", *more)) == 0


def test_a_clip_that_failed_is_named_and_tried_again(data, tmp_path, capfd, monkeypatch):
    copy, output = tmp_path / "data", tmp_path / "out"
    shutil.copytree(data, copy)
    from preprocessing.extraction import dataset_extraction

    extract = dataset_extraction.fill_face_store

    def away(root, clips, *more):
        (root / "real/real0.mp4").rename(tmp_path / "away.mp4")
        return extract(root, clips, *more)

    with monkeypatch.context() as patch:
        patch.setattr(dataset_extraction, "fill_face_store", away)
        assert main(arguments(copy, output, "--part", "1/1")) == 4
    (tmp_path / "away.mp4").rename(copy / "real/real0.mp4")
    capfd.readouterr()
    assert main(arguments(copy, output, "--status")) == 4
    said = capfd.readouterr().out
    assert "1 failed, 0 to do" in said
    assert "failed, and tried again by the next call: " in said
    assert "cannot be opened" in said
    assert main(arguments(copy, output, "--part", "1/1")) == 4
    assert main(arguments(copy, output, "--status")) == 0


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--part", "4/3"], "part 4 of 3 does not exist"),
        (["--part", "auto"], "give the part as 3/8"),
        (["--part", "1/2", "--status"], "not both"),
    ],
)
def test_mistakes_end_with_status_2(data, tmp_path, capfd, monkeypatch, more, words):
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    assert main(arguments(data, tmp_path / "out", *more)) == 2
    assert words in capfd.readouterr().err


@pytest.mark.parametrize("more", [("--part", "1/2"), ("--status",), ()])
def test_without_an_output_nothing_is_written(data, tmp_path, capfd, monkeypatch, more):
    monkeypatch.chdir(tmp_path)
    assert main(["extract", "--data", str(data), *more]) == 2
    assert "no output folder is named: give --output DIR" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("more", [("--part", "1/1"), ()])
@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        # As Beam hands it on.
        (KeyboardInterrupt, 130, "interrupted; finished clips are kept"),
        (RuntimeError("planted"), 1, "error: RuntimeError: planted"),
    ],
)
def test_what_ends_an_extraction_is_one_sentence(
    data, tmp_path, capfd, monkeypatch, more, error, status, words
):
    from preprocessing.faces.face_cropper import FaceCropper

    def crops(*_, **__):
        raise error

    monkeypatch.setattr(FaceCropper, "crops", crops)
    assert main(arguments(data, tmp_path / "out", *more)) == status
    said = capfd.readouterr()
    assert words in said.out
    assert "Traceback" not in said.out + said.err


class TestJobFiles:
    """Of schedulers; that Slurm runs its own is in tests/e2e/test_slurm.py."""

    folder = Path(pipeline.__path__[0]) / "deploy"

    def test_the_tasks_of_slurm_are_as_many_as_parts(self):
        text = (self.folder / "slurm" / "extract.sbatch").read_text()
        last = re.search(r"^#SBATCH --array=0-(\d+)$", text, re.M)[1]
        assert f"DEEPFAKE_PARTS:-{int(last) + 1}" in text

    def test_the_pods_of_kubernetes_are_as_many_as_parts(self):
        job = yaml.safe_load((self.folder / "kubernetes" / "extract.yaml").read_text())
        (container,) = job["spec"]["template"]["spec"]["containers"]
        environment = {entry["name"]: entry["value"] for entry in container["env"]}
        assert environment["DEEPFAKE_PARTS"] == str(job["spec"]["completions"])
        assert job["spec"]["completionMode"] == "Indexed"
        assert "--part auto" in container["args"][0]

    def test_the_pods_of_kubernetes_work_on_the_volume_of_the_pipeline(self):
        claim, _ = yaml.safe_load_all((self.folder / "kubernetes" / "volume.yaml").read_text())
        job = yaml.safe_load((self.folder / "kubernetes" / "extract.yaml").read_text())
        pod = job["spec"]["template"]["spec"]
        (volume,), (container,) = pod["volumes"], pod["containers"]
        (mount,) = container["volumeMounts"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert mount == {"name": volume["name"], "mountPath": KubeflowConfig().mount_path}
        # Runs that are submitted as the documents say find the faces.
        documents = Path(pipeline.__path__[0]).parent / "docs" / "kubeflow.md"
        submitted = re.search(r"deepfake submit .* --data /mnt.*", documents.read_text())[0]
        command = container["args"][0].partition(";")[0]
        for option in ("--data", "--output"):
            (given,), (wanted,) = (
                re.findall(rf"{option} (\S+)", words) for words in (command, submitted)
            )
            assert given == wanted
        environment = {entry["name"]: entry["value"] for entry in container["env"]}
        assert environment["PRESET"] in presets()
        assert '--preset "${PRESET:-folder}"' in command
