"""Versions on disk, and what the manager makes of them; real models, no process."""

import errno
import os
import shutil
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from serving_support.models import half_plus_two, write_warmup
from serving_support.served import Served
from tensorflow_serving.apis import prediction_log_pb2

from serving.server import warmup
from serving.server.config import LoadOptions, ServedModelConfig, VersionPolicy
from serving.server.model_versions import ModelVersion, State
from serving.server.servable import is_complete
from serving.server.served_model import Target
from serving.server.status_codes import Code, ServingError

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Models that add 1, 2 and 3, to be copied into version folders."""
    folder = tmp_path_factory.mktemp("made")
    return {n: half_plus_two(folder / str(n), offset=float(n)) for n in (1, 2, 3)}


@pytest.fixture
def serve(tmp_path, made):
    started = []

    def start(**config):
        base = tmp_path / "m"
        base.mkdir(exist_ok=True)
        started.append(Served(base, made, **config))
        return started[-1]

    yield start
    for served in started:
        served.manager.close()


def test_highest_version_is_served_and_the_old_one_leaves(serve):
    served = serve().add(1)
    assert served.ask() == 1.0
    served.add(2)
    assert served.ask() == 2.0
    assert served.states() == {2: "AVAILABLE", 1: "END"}
    with pytest.raises(ServingError) as raised:
        served.ask(1)
    assert raised.value.code is Code.NOT_FOUND


def test_old_version_answers_until_its_last_request_left(serve):
    served = serve().add(1)
    with served.manager.acquire(Target("m")) as servable:
        served.add(2)
        assert served.states() == {2: "AVAILABLE", 1: "UNLOADING"}
        outputs = servable.run({"x:0": np.array([0.0], np.float32)}, ["y:0"], time.monotonic() + 60)
        assert outputs[0].tolist() == [1.0]
    served.manager.look()
    assert served.states() == {2: "AVAILABLE", 1: "END"}


def test_zeros_before_a_version_are_read_over(serve, made, caplog):
    served = serve()
    shutil.copytree(made[1], served.base / "00000123")
    served.manager.look()
    assert (served.ask(), served.states()) == (1.0, {123: "AVAILABLE"})
    shutil.copytree(made[2], served.base / "124")
    shutil.copytree(made[3], served.base / "0124")
    served.manager.look()
    served.manager.look()
    assert served.ask(124) == 2.0
    said = [record.message for record in caplog.records if "0124" in record.message]
    assert [message.partition(";")[0] for message in said] == [
        "model m: 0124 is ignored beside 124"
    ]


def test_labels_of_versions_that_do_not_answer(serve, tmp_path):
    served = serve(labels={"stable": 1, "next": 2}).add(1)
    with pytest.raises(ServingError, match="label to version 2 of model m") as raised:
        served.manager.start()
    assert raised.value.code is Code.FAILED_PRECONDITION

    served = serve(labels={"stable": 1, "next": 2}, loading=LoadOptions(labels_of_unavailable=True))
    served.manager.start()
    assert served.ask(label="stable") == 1.0
    with pytest.raises(ServingError) as raised:
        served.ask(label="next")
    assert raised.value.code is Code.NOT_FOUND
    # A label that moves must name a version that answers.
    with pytest.raises(ServingError, match="label to version 5"):
        served.manager.reload([ServedModelConfig("m", str(served.base), labels={"stable": 5})])
    assert served.ask(label="stable") == 1.0


def test_a_version_is_tried_again_as_often_as_is_said(serve):
    served = serve(loading=LoadOptions(max_retries=1, retry_seconds=0.0))
    (served.base / "1").mkdir()
    (served.base / "1" / "saved_model.pb").write_bytes(b"broken")
    for attempts in (1, 2, 2):
        served.manager.look()
        assert served.manager._models["m"].versions[1].attempts == attempts


def test_tags_name_the_meta_graph(serve):
    served = serve(loading=LoadOptions(tags=("other",))).add(1)
    assert "could not be found in SavedModel" in served.version(1).message


def test_removing_the_highest_rolls_back(serve):
    served = serve().add(1).add(2)
    shutil.rmtree(served.base / "2")
    served.manager.look()
    assert served.ask() == 1.0


@pytest.mark.parametrize("what", ["version", "base"])
def test_last_version_serves_on_when_its_files_are_gone(serve, what):
    served = serve().add(1)
    shutil.rmtree(served.base / "1" if what == "version" else served.base)
    served.manager.look()
    assert served.ask() == 1.0
    assert served.states() == {1: "AVAILABLE"}


@pytest.mark.difference
def test_incomplete_version_waits(serve, made):
    served = serve().add(1)
    shutil.copytree(made[2], served.base / "2", ignore=shutil.ignore_patterns("saved_model.pb"))
    served.manager.look()
    assert served.ask() == 1.0
    assert served.version(2).state is State.START
    assert "saved_model.pb" in served.version(2).message
    shutil.copy(made[2] / "saved_model.pb", served.base / "2")
    served.manager.look()
    assert served.ask() == 2.0


def test_version_that_may_not_be_read_is_said_and_stops_no_other(serve, monkeypatch, caplog):
    """The tests may be root's, whom no folder is closed to."""
    closed = {"2"}

    def look_into(folder):
        if folder.name in closed:
            raise PermissionError(errno.EACCES, "Permission denied")
        return is_complete(folder)

    monkeypatch.setattr("serving.server.manager.is_complete", look_into)
    served = serve().add(1).add(2)
    assert served.ask() == 1.0
    assert served.states() == {1: "AVAILABLE"}
    said = (
        f"version 2 may not be read by the user {os.geteuid()} of this process; versions [1] stay"
    )
    assert caplog.text.count(said) == 1
    served.add(3)
    assert served.ask() == 3.0
    closed.add("3")
    served.manager.look()
    assert served.ask() == 3.0, "it is served already"


@pytest.mark.parametrize("damage", ["graph", "variables", "no variables"])
def test_corrupt_version_is_reported_and_tried_again_when_it_changes(serve, made, damage):
    served = serve().add(1)
    broken = served.base / "2"
    shutil.copytree(made[2], broken)
    data = next((broken / "variables").glob("variables.data*"))
    if damage == "graph":
        (broken / "saved_model.pb").write_bytes(b"\xff" * 100)
    elif damage == "variables":
        data.write_bytes(b"")
    else:
        shutil.rmtree(broken / "variables")
        (broken / "variables").mkdir()
    served.manager.look()
    assert served.ask() == 1.0
    failed = served.version(2)
    assert failed.state is State.END
    assert failed.code is not Code.OK
    assert "loading failed" in failed.message
    assert str(served.base) not in failed.message
    served.manager.look()
    assert served.metrics.load_attempts.value("m", "fail") == 1

    shutil.rmtree(broken)
    shutil.copytree(made[2], broken)
    served.manager.look()
    assert served.ask() == 2.0


@pytest.mark.difference
def test_start_falls_back_to_the_last_good_version(serve, made):
    served = serve()
    (served.base / "9").mkdir()
    (served.base / "9" / "saved_model.pb").write_bytes(b"\xff")
    served.add(1)
    assert served.ask() == 1.0
    assert served.states() == {9: "END", 1: "AVAILABLE"}


def test_other_folders_are_ignored(serve):
    served = serve()
    for name in ("-3", "+4", "1.5", "backup", "tmp123", "99999999999999999999"):
        (served.base / name).mkdir()
    (served.base / "8").write_text("a file")
    served.add(1)
    assert served.states() == {1: "AVAILABLE"}


def test_policy_all_and_specific(serve):
    everything = serve(policy=VersionPolicy("all")).add(1, 2, 3)
    assert [everything.ask(n) for n in (1, 2, 3)] == [1.0, 2.0, 3.0]
    assert everything.ask() == 3.0
    chosen = serve(policy=VersionPolicy("specific", versions=(1, 2)))
    chosen.manager.look()
    assert chosen.ask() == 2.0
    with pytest.raises(ServingError):
        chosen.ask(3)
    two = serve(policy=VersionPolicy("latest", latest=2))
    two.manager.look()
    assert two.states() == {3: "AVAILABLE", 2: "AVAILABLE"}


def test_labels(serve):
    served = serve(policy=VersionPolicy("all"), labels={"stable": 1}).add(1, 2)
    assert served.ask(label="stable") == 1.0
    with pytest.raises(ServingError) as raised:
        served.ask(label="canary")
    assert raised.value.code is Code.INVALID_ARGUMENT


def test_reload_changes_models_and_labels(serve, tmp_path, made):
    served = serve().add(1)
    other = tmp_path / "other"
    shutil.copytree(made[3], other / "1")
    every = VersionPolicy("all")
    m = ServedModelConfig("m", str(served.base), every, {"stable": 1})
    served.manager.reload([m, ServedModelConfig("o", str(other))])
    assert served.ask(label="stable") == 1.0
    assert served.manager.summary() == {"m": [1], "o": [1]}
    page = served.metrics.page()
    for name in ("m", "o"):
        assert f'load_attempt_count{{model_path="{name}",status="fail"}} 0\n' in page

    with pytest.raises(ServingError) as raised:
        served.manager.reload([ServedModelConfig("m", str(served.base), every, {"stable": 7})])
    assert raised.value.code is Code.FAILED_PRECONDITION
    assert served.ask(label="stable") == 1.0

    with pytest.raises(ServingError) as raised:
        served.manager.reload([m, ServedModelConfig("empty", str(tmp_path / "empty"))])
    assert raised.value.code is Code.UNKNOWN
    assert "empty" in raised.value.message
    assert not served.manager.ready()


def test_another_folder_is_served_once_it_has_a_version(serve, tmp_path, made):
    served, other = serve().add(1), tmp_path / "other"
    changed = ServedModelConfig("m", str(other), labels={"stable": 5})
    for is_broken in (False, True):
        if is_broken:
            (other / "5").mkdir(parents=True)
            (other / "5" / "saved_model.pb").write_bytes(b"broken")
        with pytest.raises(ServingError, match=r"Some models did not become available: \{m\}"):
            served.manager.reload([changed])
        assert (served.ask(), served.manager.ready()) == (1.0, True)
    # The former folder counts no more, and what is broken is not loaded with every look.
    served.add(2)
    assert (served.ask(), served.metrics.load_attempts.value("m", "fail")) == (1.0, 1)
    asked = []
    served.manager._warm_up = lambda servable: asked.append(served.ask())
    shutil.rmtree(other / "5")
    shutil.copytree(made[3], other / "5")
    served.manager.look()
    assert (asked, served.ask(label="stable"), served.states()) == ([1.0], 3.0, {5: "AVAILABLE"})
    served.manager.reload([ServedModelConfig("m", str(served.base))])
    assert served.ask() == 2.0


def _log(value, signature=""):
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = signature
    log.predict_log.request.inputs["x"].CopyFrom(tf.make_tensor_proto([value]))
    return log


def test_warm_up_runs_before_the_version_is_announced(serve, made, tmp_path):
    served = serve()
    shutil.copytree(made[1], served.base / "1")
    write_warmup(served.base / "1", [_log(1.0), _log(2.0)])
    seen = []
    replayed = served.manager._warm_up

    def watch(servable):
        seen.append(served.states()[1])
        replayed(servable)

    served.manager._warm_up = watch
    served.manager.look()
    assert seen == ["LOADING"]
    assert served.ask() == 1.0
    assert any("model_warmup_latency_count" in line for line in served.metrics.page().split("\n"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda model: write_warmup(model, [_log(1.0, "none")]), "not found"),
        (lambda model: write_warmup(model, [_log(1.0)] * 1001), "exceeds the maximum (1000)"),
        (lambda model: write_warmup(model, [prediction_log_pb2.PredictionLog()]), "log_type"),
        (
            lambda model: (
                write_warmup(model, []),
                (model / warmup.FILE).write_bytes(b"this is no TFRecord file at all"),
            ),
            "TFRecord",
        ),
    ],
    ids=["unknown signature", "too many", "unknown kind", "not TFRecord"],
)
def test_version_that_fails_at_warm_up_is_not_served(serve, made, damage, message):
    served = serve().add(1)
    shutil.copytree(made[2], served.base / "tmp")
    damage(served.base / "tmp")
    (served.base / "tmp").rename(served.base / "2")
    served.manager.look()
    assert served.ask() == 1.0
    assert served.version(2).state is State.END
    assert "warm-up failed" in served.version(2).message
    assert message in served.version(2).message


def test_errors_of_the_file_system_leave_the_served_version(serve, monkeypatch):
    served = serve().add(1)

    def full(path):
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(os, "scandir", full)
    served.manager.look()
    assert served.ask() == 1.0


def test_the_thread_picks_new_versions_up(serve, made):
    served = serve().add(1)
    served.manager._poll_seconds = 0.05
    served.manager.start()
    shutil.copytree(made[2], served.base / "tmp")
    (served.base / "tmp").rename(served.base / "2")
    end = time.monotonic() + 60
    while served.ask() != 2.0:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_requests_during_swaps_get_live_versions(serve, made):
    served = serve().add(1)
    answers, failures, stop = set(), [], threading.Event()

    def ask():
        while not stop.is_set():
            try:
                answers.add(served.ask())
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for version in range(2, 8):
            served.add(version, like=1 + version % 3)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert answers <= {1.0, 2.0, 3.0}
    assert served.states()[7] == "AVAILABLE"
    assert served.ask() == 2.0


def test_ended_versions_are_forgotten_in_time(serve, made):
    served = serve().add(1)
    model = served.manager._models["m"]
    for number in range(100, 200):
        model.versions[number] = ModelVersion(number, State.END)
    served.manager.look()
    assert 20 < len(served.states()) < 50
    assert served.ask() == 1.0
