"""Upload to verdict with no model named: server and gateway take the starter, and say so."""

import html

import cv2
import numpy as np
import pytest
from made_media import face_frame
from serving_support.gateway import GatewayProcess, add_version, until
from serving_support.models import face_detector
from serving_support.starter import PROVENANCE, TOLD, make_starter, with_starter

from serving.model.provenance import Provenance
from serving.model.verdict import NOT_A_VERDICT
from serving.server.process import ServerProcess

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "face.png"
    assert cv2.imwrite(str(path), np.ascontiguousarray(face_frame([(60, 40, 1.0)])[..., ::-1]))
    return path.read_bytes()


def test_no_model_is_named_and_all_say_which_answers(tmp_path, picture):
    base = make_starter(tmp_path / "starter")
    server = ServerProcess(["--poll", "0.2"], log=tmp_path / "server.log")
    with with_starter(server, "serving.server.main", base):
        gateway = GatewayProcess(tmp_path / "run", "--server", f"grpc://{server.grpc}")
        with with_starter(gateway, "serving.gateway.main", base):
            status, answer = gateway.verdict(picture)
            assert (status, answer["verdict"], answer["warning"]) == (200, "fake", "")
            assert answer["model"] == {
                "name": "starter",
                "version": 1,
                "backbone": "tiny",
                "about": TOLD,
                "provenance": PROVENANCE,
            }
            _, _, page = gateway.request("GET", "/")
            facts = Provenance.from_dict(PROVENANCE).facts()
            assert len(facts) == 5
            # In the page an apostrophe is an entity.
            assert all(html.escape(text) in page for text in facts.values())
            assert NOT_A_VERDICT not in page
            assert TOLD in gateway.log()
            assert TOLD in server.log()


def test_a_version_of_made_data_gives_no_verdict_from_its_first_answer_on(tmp_path, picture):
    base = make_starter(tmp_path / "starter")
    server = ServerProcess(["--model-base", base, "--poll", "0.2"])
    with (
        server,
        GatewayProcess(
            tmp_path / "run", "--server", f"grpc://{server.grpc}", "--model-base", base
        ) as gateway,
    ):
        assert gateway.verdict(picture)[1]["verdict"] == "fake"
        assert TOLD not in gateway.log(), "one that is named is not announced"
        add_version(base, 2, face_detector(tmp_path / "detector"), real_below=0.6, fake_above=0.7)
        until(lambda: gateway.verdict(picture)[1]["model"]["version"] == 2, "version 2 answers")
        assert gateway.verdict(picture)[1]["model"]["provenance"] is None
        make_starter(tmp_path / "made", {**PROVENANCE, "made_data": True})
        (tmp_path / "made" / "1").rename(base / "3")
        until(lambda: gateway.verdict(picture)[1]["model"]["version"] == 3, "version 3 answers")
        _, answer = gateway.verdict(picture)
        assert answer["verdict"] == answer["warning"] == NOT_A_VERDICT
        assert answer["score"] > 0.7
        assert answer["meaning"].startswith(NOT_A_VERDICT)
        _, _, page = gateway.request("GET", "/")
        assert f'<p class="note">{NOT_A_VERDICT};' in page
        _, _, metrics = gateway.request("GET", "/metrics")
        assert 'outcome="made_data"' in metrics
