"""What may be chosen when a compiled pipeline is started."""

import json

import pytest

from pipeline.kubeflow.buckets import Buckets
from pipeline.kubeflow.runtime_parameters import applied, declare
from pipeline.kubeflow.task import Task
from preprocessing.support.errors import UsageError

CONFIG = json.dumps({"training": {"epochs": 4, "steps_per_epoch": 0, "patience": 3}, "seed": 1})


def spec_of(**constants):
    """A pipeline of one task with these properties."""
    parameters = {key: {"runtimeValue": {"constant": text}} for key, text in constants.items()}
    kinds = {key: {"parameterType": "STRING"} for key in constants}
    return {
        "components": {"Trainer": {"inputDefinitions": {"parameters": kinds}}},
        "root": {
            "dag": {
                "tasks": {
                    "trainer": {
                        "componentRef": {"name": "Trainer"},
                        "inputs": {"parameters": parameters},
                    }
                }
            }
        },
    }


def test_a_task_with_the_section_training_is_handed_both():
    spec = spec_of(custom_config=CONFIG, run_fn="components.trainer.run_fn.run_fn")
    declare(spec)
    number = {"parameterType": "NUMBER_INTEGER", "isOptional": True}
    assert spec["root"]["inputDefinitions"]["parameters"] == {
        "epochs": {**number, "defaultValue": 4},
        "steps_per_epoch": {**number, "defaultValue": 0},
    }
    inputs = spec["root"]["dag"]["tasks"]["trainer"]["inputs"]["parameters"]
    assert inputs["epochs"] == {"componentInputParameter": "epochs"}
    assert inputs["custom_config"] == {"runtimeValue": {"constant": CONFIG}}
    declared = spec["components"]["Trainer"]["inputDefinitions"]["parameters"]
    assert declared["steps_per_epoch"] == {"parameterType": "NUMBER_INTEGER"}


def test_a_task_is_handed_what_it_holds_alone():
    """The Tuner's trials have epochs of their own."""
    tuner = json.dumps({"training": {"steps_per_epoch": 5, "patience": 3}})
    spec = spec_of(custom_config=tuner)
    declare(spec)
    assert spec["root"]["inputDefinitions"]["parameters"].keys() == {"steps_per_epoch"}
    inputs = spec["root"]["dag"]["tasks"]["trainer"]["inputs"]["parameters"]
    assert inputs.keys() == {"custom_config", "steps_per_epoch"}
    given = applied({"custom_config": tuner, "steps_per_epoch": 7})["custom_config"]
    assert json.loads(given) == {"training": {"steps_per_epoch": 7, "patience": 3}}


def test_other_properties_declare_nothing():
    spec = spec_of(gate='{"min_auc": 0.9}', code="training", names='["training"]', other="{{$}}")
    declare(spec)
    assert "inputDefinitions" not in spec["root"]


def test_what_was_chosen_takes_the_place_of_what_was_compiled():
    given = {"custom_config": CONFIG, "run_fn": "a.b", "epochs": 2.0, "steps_per_epoch": 7}
    properties = applied(given)
    assert properties.keys() == {"custom_config", "run_fn"}
    expected = {"epochs": 2, "steps_per_epoch": 7, "patience": 3}
    values = json.loads(properties["custom_config"])
    assert values == {"training": expected, "seed": 1}
    assert [type(number) for number in values["training"].values()] == [int] * 3
    assert applied({"custom_config": CONFIG}) == {"custom_config": CONFIG}


def test_the_task_for_tfx_has_it(tmp_path):
    invocation = {
        "inputs": {"parameterValues": {"custom_config": CONFIG, "epochs": 1}},
        "outputs": {"outputFile": str(tmp_path / "answer.json")},
    }
    document = Task(invocation, {}, Buckets(str(tmp_path))).document
    assert document["inputs"]["parameterValues"].keys() == {"custom_config"}
    values = json.loads(document["inputs"]["parameterValues"]["custom_config"])
    assert values["training"]["epochs"] == 1


@pytest.mark.parametrize("value", [2.5, "two", True, None, float("inf"), float("nan")])
def test_a_value_that_is_no_whole_number_is_refused(value):
    with pytest.raises(UsageError, match=r"parameter epochs: .* is not a whole number"):
        applied({"custom_config": CONFIG, "epochs": value})
