"""Every node passes the checks of nodes."""

from pathlib import Path

from cases.node_case import ExtendedNodeCase, NodeCase

import components


class TestBlessedModel(NodeCase):
    component = "components.blessed_model.component.BlessedModel"


class TestClipEvaluator(NodeCase):
    component = "components.clip_evaluator.component.ClipEvaluator"


class TestEvaluator(ExtendedNodeCase):
    component = "components.evaluator.component.Evaluator"


class TestExampleValidator(ExtendedNodeCase):
    component = "components.example_validator.component.ExampleValidator"


class TestFaceExtractor(NodeCase):
    component = "components.face_extractor.component.FaceExtractor"


class TestReport(NodeCase):
    component = "components.report.component.Report"


class TestServingCheck(NodeCase):
    component = "components.serving_check.component.ServingCheck"


def test_every_node_has_its_case():
    (folder,) = map(Path, components.__path__)
    modules = {f"components.{path.parent.name}.component" for path in folder.glob("*/component.py")}
    cases = {*ExtendedNodeCase.__subclasses__(), *NodeCase.__subclasses__()} - {NodeCase}
    assert {case.component.rpartition(".")[0] for case in cases} == modules
