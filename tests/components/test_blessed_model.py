"""The baseline of a candidate: by resolver (local runs) and by component (Kubeflow)."""

from pathlib import Path

import pytest
from cases.node_case import execute, make_artifact

# TFX is imported where it is used: collecting these tests costs the unit tests nothing.
pytestmark = pytest.mark.integration


def model(number):
    from tfx.types import standard_artifacts

    artifact = standard_artifacts.Model()
    artifact.id = number
    return artifact


def blessing(of, blessed, final=True, number=0):
    """What ClipEvaluator (or, not final, the Evaluator) leaves: the verdict on a model."""
    from tfx.components.evaluator import constants
    from tfx.types import standard_artifacts

    from components.evaluation.blessing import FINAL_PROPERTY

    artifact = standard_artifacts.ModelBlessing()
    artifact.id = number or 100 + of
    artifact.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, of)
    artifact.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, int(blessed))
    if final:
        artifact.set_int_custom_property(FINAL_PROPERTY, 1)
    return artifact


def served(of, blessed):
    """What ServingCheck leaves."""
    from tfx.components.evaluator import constants
    from tfx.types import standard_artifacts

    from components.evaluation.blessing import MODEL_ID_PROPERTY

    artifact = standard_artifacts.InfraBlessing()
    artifact.set_int_custom_property(MODEL_ID_PROPERTY, of)
    artifact.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, int(blessed))
    return artifact


def new_store():
    """A metadata store in memory."""
    import ml_metadata as mlmd
    from ml_metadata.proto import metadata_store_pb2

    config = metadata_store_pb2.ConnectionConfig()
    config.fake_database.SetInParent()
    return mlmd.MetadataStore(config)


def resolve(candidate, verdicts, checks=(), more=()):
    """Ids of the resolved models and blessings.

    `verdicts` are {model id: blessed, or None if not judged}, `checks` (model id, blessed), `more`
    further blessings.
    """
    from components.blessed_model.strategy import BlessedOtherThanCandidate

    candidates = [model(candidate)] if candidate else []
    judged = {number: verdict for number, verdict in verdicts.items() if verdict is not None}
    resolved = BlessedOtherThanCandidate().resolve_artifacts(
        new_store(),
        {
            "candidate": candidates,
            "model": [model(number) for number in verdicts],
            "model_blessing": [
                *more,
                *(blessing(number, verdict) for number, verdict in judged.items()),
            ],
            "infra_blessing": [served(*check) for check in checks],
        },
    )
    assert resolved["candidate"] == candidates
    assert set(resolved) == {"candidate", "model", "model_blessing", "infra_blessing"}
    return [m.id for m in resolved["model"]], [b.id - 100 for b in resolved["model_blessing"]]


@pytest.mark.parametrize(
    ("candidate", "verdicts", "baseline"),
    [
        (1, {}, []),
        (1, {1: None}, []),
        (2, {1: True, 2: None}, [1]),
        (9, {1: True, 5: True, 3: True, 9: None}, [5]),
        (9, {1: True, 5: False, 9: None}, [1]),
        (9, {1: False, 5: None, 9: None}, []),
        # In a second run of unchanged inputs the candidate is blessed already.
        (5, {1: True, 5: True}, [1]),
        (5, {5: True}, []),
        # A candidate from the cache may be older than what was pushed after it, whose place it
        # would take without a comparison.
        (3, {1: True, 3: True, 5: True}, [5]),
        (3, {1: True, 3: True, 5: False}, [1]),
        (0, {1: True}, []),
    ],
    ids=[
        "no model",
        "first model",
        "one blessed",
        "latest of several, in any order",
        "refused ones are passed over",
        "none blessed",
        "not the candidate itself",
        "only the candidate itself",
        "one younger than the candidate",
        "a younger one that was refused is passed over",
        "no candidate",
    ],
)
def test_baseline_is_the_newest_other_blessed_model(candidate, verdicts, baseline):
    assert resolve(candidate, verdicts) == (baseline, baseline)


@pytest.mark.parametrize(
    ("runs", "baselines"),
    [
        ("AA", [[], []]),
        ("ABB", [[], [1], [1]]),
        ("ABAA", [[], [1], [2], [2]]),
        ("ABAB", [[], [1], [2], [1]]),
        # A was judged, and so pushed, after B.
        ("ABAC", [[], [1], [2], [1]]),
    ],
)
def test_a_run_that_is_repeated_finds_the_baseline_that_it_had(runs, baselines):
    """So that its evaluators come from the cache; an earlier model is judged once more."""
    resolved, blessings = [], {}
    for name in runs:
        candidate = "ABC".index(name) + 1
        models = dict.fromkeys({candidate, *(number for number, _ in blessings)})
        baseline, _ = resolve(candidate, models, more=list(blessings.values())[::-1])
        resolved.append(baseline)
        judged = candidate, tuple(baseline)
        blessings.setdefault(judged, blessing(candidate, True, number=200 + len(blessings)))
    assert resolved == baselines


@pytest.mark.parametrize(
    ("checks", "baseline"),
    [
        ([(1, True), (5, False)], [1]),
        ([(1, True), (5, False), (5, True)], [5]),
        ([(1, False), (5, False)], []),
        # InfraValidator's blessing names no model.
        ([(0, False)], [5]),
    ],
    ids=["refused", "refused once", "all refused", "another component's"],
)
def test_a_model_that_could_not_be_served_is_no_baseline(checks, baseline):
    assert resolve(9, {1: True, 5: True, 9: None}, checks) == (baseline, baseline)


def test_a_model_whose_frames_alone_were_blessed_is_no_baseline():
    from components.blessed_model.strategy import BlessedOtherThanCandidate

    resolved = BlessedOtherThanCandidate().resolve_artifacts(
        new_store(),
        {
            "candidate": [model(2)],
            "model": [model(1), model(2)],
            "model_blessing": [blessing(1, True, final=False), blessing(1, False)],
            "infra_blessing": [],
        },
    )
    assert resolved["model"] == resolved["model_blessing"] == []


def push(folder, version, complete=True):
    (folder / version / "variables").mkdir(parents=True)
    (folder / version / "variables" / "variables.index").write_text(version)
    if complete:
        (folder / version / "saved_model.pb").write_text(version)


@pytest.fixture
def blessed(tmp_path):
    """A store in which Pusher has made versions of model 1, whose folder is not there (any more).

    Returns a function that resolves the baseline of the next model; it takes the versions' folders.
    """
    from ml_metadata.proto import metadata_store_pb2
    from tfx.types import standard_artifacts

    from components.blessed_model.strategy import BlessedOtherThanCandidate

    store = new_store()
    old = make_artifact(standard_artifacts.Model, tmp_path / "artifacts" / "model" / "1")
    old.type_id = store.put_artifact_type(old.artifact_type)
    (old.id,) = store.put_artifacts([old.mlmd_artifact])
    pushed_type = store.put_artifact_type(standard_artifacts.PushedModel()._get_artifact_type())
    node_type = store.put_execution_type(metadata_store_pb2.ExecutionType(name="Pusher"))

    def resolve_baseline(*versions):
        event = metadata_store_pb2.Event
        for version in versions:
            (run,) = store.put_executions([metadata_store_pb2.Execution(type_id=node_type)])
            pushed = metadata_store_pb2.Artifact(type_id=pushed_type)
            pushed.custom_properties["pushed_destination"].string_value = str(version)
            (made,) = store.put_artifacts([pushed])
            store.put_events(
                [
                    event(artifact_id=old.id, execution_id=run, type=event.INPUT),
                    event(artifact_id=made, execution_id=run, type=event.OUTPUT),
                ]
            )
        channels = {
            "candidate": [model(old.id + 1)],
            "model": [old, model(old.id + 1)],
            "model_blessing": [blessing(old.id, True)],
            "infra_blessing": [],
        }
        (baseline,) = BlessedOtherThanCandidate().resolve_artifacts(store, channels)["model"]
        assert baseline.id == old.id
        return Path(baseline.uri)

    return resolve_baseline


def test_a_baseline_that_was_deleted_is_put_back_from_its_version(blessed, tmp_path):
    push(tmp_path / "pushed", "5")
    push(tmp_path / "pushed", "6")
    baseline = blessed(tmp_path / "deleted" / "4", tmp_path / "pushed" / "5")
    assert [path.name for path in baseline.iterdir()] == ["Format-Serving"]
    files = {path.name: path.read_text() for path in baseline.rglob("*.*") if path.is_file()}
    assert files == {"saved_model.pb": "5", "variables.index": "5"}


def test_a_baseline_that_is_there_stays_as_it_is(blessed, tmp_path):
    push(tmp_path / "artifacts" / "model" / "1", "Format-Serving")
    push(tmp_path / "pushed", "5")
    baseline = blessed(tmp_path / "pushed" / "5")
    assert (baseline / "Format-Serving" / "saved_model.pb").read_text() == "Format-Serving"


def test_a_baseline_whose_versions_are_deleted_too_is_handed_on_missing(blessed, tmp_path):
    """The evaluators refuse it; a resolver that raised would be passed over."""
    assert not blessed().exists()
    push(tmp_path / "pushed", "5", complete=False)
    assert not blessed(tmp_path / "deleted" / "4", tmp_path / "pushed" / "5").exists()


def test_a_baseline_that_cannot_be_put_back_is_handed_on_missing(blessed, tmp_path, caplog):
    push(tmp_path / "pushed", "5")
    (tmp_path / "artifacts").write_text("a file where the folder was")
    assert not blessed(tmp_path / "pushed" / "5").exists()
    assert "cannot be put back" in caplog.text


@pytest.fixture
def latest(tmp_path):
    """Runs the executor on what was pushed; returns the artifact and its folder's files."""
    from tfx.types import standard_artifacts

    from components.blessed_model.executor import Executor

    def latest():
        artifact = make_artifact(standard_artifacts.Model, tmp_path / "artifact")
        execute(
            Executor,
            tmp_path,
            {"candidate": [model(7)]},
            {"model": [artifact]},
            {"push_destination": str(tmp_path / "pushed")},
        )
        folder = tmp_path / "artifact"
        files = {
            str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*.*") if p.is_file()
        }
        return artifact, files

    return latest


def test_nothing_was_pushed_yet(latest, tmp_path):
    artifact, files = latest()
    assert files == {}
    assert (tmp_path / "artifact").is_dir(), "an empty folder says that there is none"
    assert not artifact.has_custom_property("pushed_version")


def test_highest_version_is_copied_where_tfx_looks_for_it(latest, tmp_path):
    # Of different lengths: as texts, 999 would be the highest.
    for version in ("999", "1700000000", "1700000001"):
        push(tmp_path / "pushed", version)
    artifact, files = latest()
    assert files == {
        "Format-Serving/saved_model.pb": "1700000001",
        "Format-Serving/variables/variables.index": "1700000001",
    }
    assert artifact.get_string_custom_property("pushed_version") == "1700000001"


def test_what_is_no_version_is_passed_over(latest, tmp_path):
    push(tmp_path / "pushed", "5")
    for name in ("latest", "9.bak", "-7", ".tmp"):
        push(tmp_path / "pushed", name)
    (tmp_path / "pushed" / "notes.txt").write_text("")
    assert latest()[0].get_string_custom_property("pushed_version") == "5"


def test_push_that_was_broken_off_is_no_baseline(latest, tmp_path):
    push(tmp_path / "pushed", "5")
    push(tmp_path / "pushed", "6", complete=False)
    assert latest()[0].get_string_custom_property("pushed_version") == "5"


def test_a_version_that_was_rolled_back_is_no_baseline(latest, tmp_path):
    from pipeline.rollback import roll_back

    for version in ("5", "6"):
        push(tmp_path / "pushed", version)
    done = roll_back(tmp_path / "pushed")
    artifact, files = latest()
    assert files["Format-Serving/saved_model.pb"] == "5"
    assert artifact.get_string_custom_property("pushed_version") == str(done.served)
