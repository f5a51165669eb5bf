"""Configuration: presets load, overrides land, typos are refused with the nearest known key."""

import json

import pytest

from pipeline import config as config_lib
from pipeline.commands._options import configuration, configuration_of_any_layout
from pipeline.config import Config, config_from_environment, load_config
from preprocessing.datasets.layout import layouts
from preprocessing.support.errors import UsageError


@pytest.mark.parametrize("preset", config_lib.presets())
def test_every_preset_loads(preset):
    config = load_config(preset)
    assert config.name == preset


def test_there_is_a_preset_for_every_layout():
    named = {load_config(preset).data.layout for preset in config_lib.presets()}
    # Face crops may have any layout.
    assert named - {"auto"} == {"demo", *layouts()}


def test_overrides_apply_in_order_and_leave_the_rest():
    before = load_config("demo")
    after = load_config("demo", ["training.epochs=3", "training.epochs=5", "data.demo.seed=9"])
    assert after.training.epochs == 5
    assert after.data.demo.seed == 9
    assert after.replace(training=before.training, data=before.data) == before


def test_yaml_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\n"
        "model: {backbone: tiny, weights: none}\n"
        "training: {learning_rate: 1e-3, batch_norm: momentum}\n"
    )
    config = load_config(str(path))
    assert (config.name, config.model.backbone, config.training.learning_rate) == (
        "mine",
        "tiny",
        1e-3,
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.epoch=3"], "did you mean 'epochs'"),
        (["trainig.epochs=3"], "did you mean 'training'"),
        (["training=3"], "is a section"),
        (["training.epochs.x=3"], "has no keys below it"),
        (["training.epochs"], "section.key=value"),
        (["training.epochs=many"], "is not a whole number"),
        (["training.epochs=true"], "is not a whole number"),
        (["training.epochs=0"], "outside"),
        (["training.batch_size=3"], "is odd"),
        (["training.sampling=pared"], "did you mean 'paired'"),
        (["training.pseudo_fakes=self_blended", "training.sampling=shuffled"], "set it to paired"),
        (["tuner.learning_rate=[1e-3]"], "is not a range"),
        (["tuner.dropout=[0, 3]"], "outside 0.0 to 0.95"),
        (["tuner.augmentation=[]"], "the list is empty"),
        (["tuner.augmentation=[light, stron]"], "did you mean 'strong'"),
        (["tuner.dropout=[0, many]"], "is not a number"),
        (["training.unfreeze_from=cell_13"], "of nasnet_mobile: 'cell_13' is not known"),
        (["tuner.unfreeze_from=['', reduc_4]"], "did you mean 'reduce_4'"),
        (["model.backbone=nasnet_larg"], "did you mean 'nasnet_large'"),
        (["data.split=identiti"], "did you mean 'identity'"),
        (["data.demo.difficulty=hrad"], "did you mean 'hard'"),
        (["extraction.margin=0.4"], "outside"),
        (["data.precropped=1"], "is not true or false"),
        (["name=a/b"], "letters, digits"),
        (["output=[1"], "is not a YAML value"),
        (["seed=-5"], "seed: -5 is outside 0 to 4294967295"),
        (["seed=4294967296"], "seed: 4294967296 is outside"),
        (["data.demo.seed=-1"], "data.demo.seed: -1 is outside 0 to"),
        (["data.demo.val_identities=0"], "data.demo.val_identities: 0 is outside 1 to"),
        (["training.learning_rate=.nan"], "training.learning_rate: nan is not a finite number"),
        (["training.clip_norm=.inf"], "training.clip_norm: inf is not a finite number"),
        (["serving.tolerance='-inf'"], "serving.tolerance: -inf is not a finite number"),
        ([f"extraction.margin=1{'0' * 400}"], "extraction.margin: inf is not a finite number"),
        (["tuner.dropout=[0, nan]"], "tuner.dropout: nan is not a finite number"),
        (["serving.gpu_tolerance=-1"], "serving.gpu_tolerance: -1.0 is outside 0.0 to 100.0"),
        (["data.demo={seed: 1, seed: 2}"], "the key 'seed' stands in line 1 and in line 1"),
        (["evaluation.gate.min_auc=90"], "evaluation.gate.min_auc: 90.0 is outside 0.0 to 1.0"),
        (["evaluation.clip_gate.min_auc=-0.1"], "clip_gate.min_auc: -0.1 is outside 0.0 to 1.0"),
        (["evaluation.gate.min_accuracy=1.01"], "gate.min_accuracy: 1.01 is outside 0.0 to 1.0"),
        (["evaluation.gate.max_auc_drop=.nan"], "max_auc_drop: nan is not a finite number"),
        (["evaluation.gate.max_auc_drop=-0.5"], "max_auc_drop: -0.5 is outside 0.0 to 1.0"),
        (["evaluation.clip_gate.drop_by=intervall"], "did you mean 'interval'"),
        (["evaluation.gate.drop_by=interval"], "set evaluation.clip_gate.drop_by to interval"),
        (["evaluation.gate.bounds=['eer <= 0.1']"], "does not measure eer of frames"),
        (["evaluation.gate.slices=['method: log_loss <= 1']"], "put that bound into evaluation.cl"),
    ],
)
def test_wrong_overrides_are_refused_in_words(overrides, message):
    with pytest.raises(UsageError, match=message):
        load_config("demo", overrides)


def test_unknown_preset_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'celeb_df_v2'"):
        load_config("celeb_df")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmae: x\n", "unknown key 'nmae'; did you mean 'name'"),
        ("training: {epoch: 1}\n", "unknown key 'training.epoch'; did you mean 'epochs'"),
        ("training: 5\n", "key: value"),
        ("a: [", "not valid YAML"),
        ("beam: --x\n", "is not a list; write"),
        ("seed: 1\nname: x\nseed: 2\n", "the key 'seed' stands in line 1 and in line 3"),
        ("model: {dropout: 0.1}\nmodel: {input: rgb}\n", "'model' stands in line 1 and in line 2"),
        (
            "data:\n  demo:\n    difficulty: easy\n    seed: 1\n    seed: 2\n",
            "'seed' stands in line 4 and in line 5",
        ),
        ("training: {learning_rate: .nan}\n", "training.learning_rate: nan is not a finite"),
        ("{[a]: 1}\n", "not valid YAML"),
        ("seed: -5\n", "wrong.yaml: seed: -5 is outside 0 to 4294967295"),
        ("model: {input: rbg}\n", "model.input: 'rbg' is not known; did you mean 'rgb'"),
        ("training: {batch_size: 3}\n", "wrong.yaml: training.batch_size: 3 is odd"),
        ("extraction: {precropped: true}\n", "unknown key 'extraction.precropped'"),
        ("model: {weights: none}\n", "training.batch_norm: freeze keeps the statistics"),
        ("model: {weights: starter}\ntraining: {batch_norm: momentum}\n", "set it to freeze"),
        ("model:\n", "model must hold `key: value` lines"),
    ],
)
def test_wrong_files_are_refused_in_words(tmp_path, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        load_config(str(path))
    assert "wrong.yaml" in str(caught.value)


def test_a_file_is_named_for_its_own_values_only(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model: {backbone: tiny, weights: none}\nseed: -5\n")
    with pytest.raises(UsageError, match=r"^seed: -6 is outside"):
        load_config(str(path), ["seed=-6"])
    with pytest.raises(UsageError, match=r"mine.yaml: seed: -5 is outside"):
        load_config(str(path), ["training.epochs=2"])
    path.write_text("model: {backbone: tiny, weights: none}\n")
    assert load_config(str(path), ["training.batch_norm=momentum"]).model.backbone == "tiny"


def test_what_a_section_merges_in_may_be_overridden(tmp_path):
    """`<<` is YAML's own way to give a key a second time."""
    path = tmp_path / "merged.yaml"
    path.write_text(
        "model: &small {backbone: tiny, weights: none, dropout: 0.1}\n"
        "training: {batch_norm: momentum}\n"
    )
    assert load_config(str(path)).model.dropout == 0.1
    path.write_text(
        "evaluation:\n"
        "  gate: &strict {min_auc: 0.95, min_accuracy: 0.9}\n"
        "  clip_gate: {<<: *strict, min_auc: 0.97}\n"
    )
    gate = load_config(str(path)).evaluation.clip_gate
    assert (gate.min_auc, gate.min_accuracy) == (0.97, 0.9)


def test_the_ends_of_the_ranges_are_allowed():
    config = load_config(
        "demo",
        [
            "seed=0",
            "evaluation.gate.min_auc=1",
            "evaluation.clip_gate.min_accuracy=0",
            "evaluation.clip_gate.max_auc_drop=1",
            "evaluation.clip_gate.drop_by=interval",
        ],
    )
    assert (config.seed, config.evaluation.gate.min_auc) == (0, 1.0)
    assert load_config("demo", ["seed=4294967295"]).seed == 2**32 - 1


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere.yaml does not exist"):
        load_config(str(tmp_path / "nowhere.yaml"))


def test_survives_json_as_executors_get_it():
    config = load_config("demo")
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_environment_values_are_texts_whatever_yaml_thinks(monkeypatch):
    monkeypatch.setenv("DEEPFAKE_CONFIG", "folder")
    monkeypatch.setenv("DEEPFAKE_DATA", "2024")
    monkeypatch.setenv("DEEPFAKE_OUTPUT", "with space: and colon")
    monkeypatch.setenv("DEEPFAKE_SET", "training.epochs=2 seed=5")
    config = config_from_environment()
    assert config.data.dir == "2024"
    assert config.output == "with space: and colon"
    assert (config.training.epochs, config.seed) == (2, 5)
    monkeypatch.setenv("DEEPFAKE_SET", "name='demo")
    with pytest.raises(UsageError, match=r"DEEPFAKE_SET: .*No closing quotation"):
        config_from_environment()


@pytest.mark.parametrize(
    "text",
    ["2024", "with space: colon", 'a "word" \\ more', "\U0001f3ac", "\udcff.mp4", "\t\n"],
)
def test_overrides_and_options_stand_for_exactly_their_text(text):
    assert load_config("folder", [config_lib.override_of("data.dir", text)]).data.dir == text
    beam = (f"--region={text}", "--project=mine")
    assert configuration("folder", None, beam=list(beam)).beam == beam


def test_a_layout_that_is_named_is_not_recognised():
    def layout(preset, *overrides):
        return configuration_of_any_layout(preset, overrides, "data", None).data.layout

    assert layout("folder") == "auto"
    assert layout("folder", "data.layout=dfdc") == "dfdc"
    assert layout("celeb_df_v2") == load_config("celeb_df_v2").data.layout
    with pytest.raises(UsageError, match=r"data\.layout"):
        layout("folder", "data.layout=dfcd")
