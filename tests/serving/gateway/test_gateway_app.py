"""Limits of the gateway's application, with work of a length that the test chooses."""

import asyncio
import dataclasses
import gzip
import json
import os
import threading

import pytest
from serving_support.asgi import ANSWER, Client, soon

from serving.gateway import spool
from serving.model.provenance import Provenance
from serving.model.verdict import NOT_A_VERDICT, DecisionRule


def test_one_more_than_there_is_room_for_is_told_to_come_again(gateway, examiner):
    async def steps():
        app = gateway()
        first = Client(app)
        await soon(lambda: examiner.jobs, "the first is looked at")
        status, headers, answer = await Client(app).answer()
        assert status == 503
        assert int(headers[b"retry-after"]) > 0
        assert "wait already" in answer["error"]
        examiner.go.set()
        assert (await first.answer())[::2] == (200, ANSWER)
        assert (await Client(app).answer())[0] == 200
        assert app.outcomes() == {("busy",): 1, ("uncertain",): 2}

    asyncio.run(steps())


def test_those_that_wait_get_their_turn_or_are_told_in_time(gateway, examiner, monkeypatch):
    async def steps():
        app = gateway(waiting=2)
        first, second = Client(app), Client(app)
        await soon(lambda: examiner.jobs, "one is looked at")
        await soon(lambda: app._turns._waiters, "the other waits for its turn")
        monkeypatch.setattr("serving.gateway.app._LONGEST_WAIT", 0.05)
        status, headers, _ = await Client(app).answer()
        assert status == 503
        assert b"retry-after" in headers
        assert len(examiner.jobs) == 1
        examiner.go.set()
        assert [(await one.answer())[0] for one in (first, second)] == [200, 200]

    asyncio.run(steps())


def test_timeout_is_answered_and_keeps_the_worker_until_it_ends(gateway, examiner, monkeypatch):
    async def steps():
        app = gateway(timeout=3.0)
        status, _, answer = await Client(app).answer()
        assert (status, answer["error"]) == (504, "looking at the file took too long")
        assert examiner.jobs[0].abandoned.is_set()
        assert not app.files()
        # No second file is looked at beside the one that cannot be stopped.
        app._options = dataclasses.replace(app._options, timeout=60.0)
        with monkeypatch.context() as patch:
            patch.setattr("serving.gateway.app._LONGEST_WAIT", 0.05)
            assert (await Client(app).answer())[0] == 503
        assert len(examiner.jobs) == 1
        examiner.go.set()
        await soon(lambda: not app._running, "the worker is free")
        assert (await Client(app).answer())[0] == 200

    asyncio.run(steps())


def test_a_body_that_does_not_come_is_not_waited_for(gateway, examiner):
    async def steps():
        app = gateway(timeout=0.1)
        status, headers, _ = await Client(app, body=None).answer()
        assert (status, headers[b"connection"]) == (408, b"close")
        assert app.outcomes() == {("slow_upload",): 1}
        assert not app.files()
        assert not examiner.jobs

    asyncio.run(steps())


@pytest.mark.parametrize("waits", [False, True])
def test_client_that_leaves_ends_the_work_and_gets_nothing(gateway, examiner, waits):
    async def steps():
        app = gateway(waiting=1)
        first = Client(app)
        await soon(lambda: examiner.jobs, "the first is looked at")
        leaving = Client(app) if waits else first
        await soon(lambda: len(app.files()) == 1 + waits, "its file is there")
        leaving.leave()
        await asyncio.wait_for(leaving.task, 60)
        assert leaving.sent == []
        assert len(app.files()) == waits
        assert app.outcomes() == {("disconnected",): 1}
        assert examiner.jobs[0].abandoned.is_set() != waits
        examiner.go.set()
        if waits:
            assert (await first.answer())[0] == 200
        assert len(examiner.jobs) == 1

    asyncio.run(steps())


def test_failures_are_told_without_their_text(gateway, examiner, caplog):
    async def steps():
        app = gateway()
        examiner.go.set()
        examiner.failure = RuntimeError("/secret/path")
        status, _, answer = await Client(app).answer()
        assert status == 500
        assert "secret" not in json.dumps(answer)
        assert not app.files()
        assert app.outcomes() == {("error",): 1}

    asyncio.run(steps())
    assert "/secret/path" in caplog.text


def test_token_is_asked_for_before_anything_is_taken_in(gateway, examiner):
    async def steps():
        app = gateway(token="let me in")
        examiner.go.set()
        for token in ("", "Bearer let me", "let me in"):
            status, headers, _ = await Client(app, token=token).answer()
            assert (status, headers[b"www-authenticate"]) == (401, b"Bearer")
        assert not examiner.jobs
        assert (await Client(app, token="Bearer let me in").answer())[0] == 200

    asyncio.run(steps())


BOUNDARY = "----------------------------b0"
FORM = ("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
GZIP = ("Content-Encoding", "gzip")


def form(*parts):
    """A multipart body of (headers, content)."""
    lines = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode()
        + content
        + b"\r\n"
        for head, content in parts
    )
    return lines + f"--{BOUNDARY}--\r\n".encode()


FILE = ('name="image"; filename="a b.mp4"', b"\x00\x01--\r\nfile")


@pytest.mark.parametrize(
    ("body", "headers", "file", "name"),
    [
        (form(FILE), [FORM], FILE[1], "a b.mp4"),
        (form(('name="note"', b"text"), FILE, FILE), [FORM], FILE[1], "a b.mp4"),
        (form(('name="f"; filename="gr\u00fcn.png"', b"x")), [FORM], b"x", "grün.png"),
        (gzip.compress(b"packed", mtime=0), [GZIP], b"packed", ""),
        (gzip.compress(form(FILE), mtime=0), [FORM, GZIP], FILE[1], "a b.mp4"),
        (b"plain", [("Content-Type", "application/x-www-form-urlencoded")], b"plain", ""),
        (b"plain", [("Content-Type", "video/mp4"), ("Content-Encoding", "identity")], b"plain", ""),
    ],
    ids=["form", "second part", "UTF-8 name", "gzip", "gzip form", "curl's type", "video type"],
)
def test_files_come_bare_or_in_forms_plain_or_packed(gateway, examiner, body, headers, file, name):
    async def steps():
        app = gateway(max_bytes=4000)
        examiner.go.set()
        assert (await Client(app, body, headers=headers).answer())[0] == 200
        given = Client(app, body, headers=headers, path="/v1/verdict?name=of+the+query")
        assert (await given.answer())[0] == 200

    asyncio.run(steps())
    assert examiner.files == [file, file]
    assert [job.name for job in examiner.jobs] == [name, "of the query"]


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (b'{"image": "b64"}', [("Content-Type", "application/json")], 415, "curl -F file=@FILE"),
        (b"{}", [("Content-Type", "application/vnd.api+json")], 415, "--data-binary @FILE"),
        (b"hello", [("Content-Type", "text/plain")], 415, "--data-binary @FILE"),
        (b"x", [("Content-Encoding", "br")], 415, "plain or gzip"),
        (b' {"image": "b64"}', [], 400, "looks like JSON"),
        (b'["b64"]', [], 400, "looks like JSON"),
        (form(FILE), [], 400, "Content-Type header is missing"),
        (gzip.compress(b"x", mtime=0), [], 400, "Content-Encoding: gzip"),
        (b"no gzip", [GZIP], 400, "is not gzip"),
        (gzip.compress(bytes(3000), mtime=0)[:-9], [GZIP], 400, "cut short"),
        (form(('name="note"', b"text")), [FORM], 400, "holds no file"),
        (form(('name="f"; filename="a"', bytes(500)))[:-60], [FORM], 400, "is cut short"),
        (b"no form", [FORM], 400, "form is broken"),
        (b"x", [("Content-Type", f"multipart/form-data; boundary={'x' * 300}")], 400, "is broken"),
        (form(('name="f"; filename="a"', b"")), [FORM], 400, "empty"),
        (b"x", [("Content-Type", "multipart/form-data")], 400, "no boundary"),
        (gzip.compress(bytes(4001), mtime=0), [GZIP], 413, "larger than 4000 bytes"),
        (form(('name="f"; filename="a"', bytes(4001))), [FORM], 413, "larger than 4000 bytes"),
        (gzip.compress(bytes(100_000_000), mtime=0), [GZIP], 413, "larger than 4000 bytes"),
    ],
)
def test_bodies_that_hold_no_file_are_told_the_remedy(
    gateway, examiner, body, headers, status, words
):
    async def steps():
        app = gateway(max_bytes=4000)
        given, _, answer = await Client(app, body, headers=headers).answer()
        assert (given, words in answer["error"]) == (status, True), answer
        assert not examiner.jobs
        assert not app.files()

    asyncio.run(steps())


def test_the_page_says_which_model_answers(gateway, examiner):
    async def page(app):
        client = Client(app, body=None, method="GET", path="/")
        await asyncio.wait_for(client.task, 60)
        return client.sent[1]["body"].decode()

    async def steps():
        app = gateway()
        assert 'class="note"></p>' not in await page(app)
        assert "<summary>" not in await page(app)
        examiner.versions.provenance = Provenance(
            name="small", summary="small & <b>real</b>", trained_on=(), terms="none"
        )
        text = await page(app)
        assert "<summary>Model: small: small &amp; &lt;b&gt;real&lt;/b&gt;</summary>" in text
        assert "<dt>Terms</dt><dd>none</dd>" in text
        assert NOT_A_VERDICT not in text
        examiner.versions.decision_rule = DecisionRule(made_data=True)
        text = await page(app)
        assert f'<p class="note">{NOT_A_VERDICT}; its scores show' in text
        assert "small &amp;" in text
        examiner.versions.readable = False
        assert "{{" not in await page(app)

    asyncio.run(steps())


def test_answers_of_a_model_of_made_data_are_counted_as_such(gateway, examiner, monkeypatch):
    answer = {**ANSWER, "score": 0.9, "verdict": NOT_A_VERDICT, "warning": NOT_A_VERDICT}
    monkeypatch.setattr(examiner, "examine", lambda job: answer)

    async def steps():
        app = gateway()
        assert (await Client(app).answer())[::2] == (200, answer)
        assert app.outcomes() == {("made_data",): 1}

    asyncio.run(steps())


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics"])
def test_monitors_may_ask_with_head(gateway, path):
    async def steps():
        app = gateway()
        sent = []
        for method in ("GET", "HEAD"):
            client = Client(app, body=None, method=method, path=path)
            await asyncio.wait_for(client.task, 60)
            sent.append(client.sent[0])
        assert sent[0]["status"] == 200
        assert sent[0] == sent[1]  # Leaving the body out is the HTTP server's part.

    asyncio.run(steps())


def test_folders_of_dead_gateways_are_swept_and_those_of_living_ones_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    living, dead = spool.Spool(), spool.Spool()
    (living.folder / "upload").write_bytes(b"x")
    (dead.folder / "upload").write_bytes(b"x")
    (dead.folder / "job").mkdir()
    (dead.folder / "job" / "file").write_bytes(b"x")
    os.close(dead._lock)  # As it is when its process ends in any way.
    other = tmp_path / "deepfake-gateway-file"
    other.write_bytes(b"no folder")
    (tmp_path / "deepfake-gateway-link").symlink_to(tmp_path)
    assert spool.sweep() == [dead.folder]
    assert not dead.folder.exists()
    assert (living.folder / "upload").exists()
    assert other.exists()
    living.close()
    assert not living.folder.exists()
    assert spool.sweep() == []


def with_work_whose_client_has_left(gateway, examiner):
    """The application after a loop in which a client left while its file was looked at."""

    async def steps():
        app = gateway()
        client = Client(app)
        await soon(lambda: examiner.jobs, "it is looked at")
        client.leave()
        await asyncio.wait_for(client.task, 60)
        return app

    app = asyncio.run(steps())
    assert app._running
    return app


def test_the_end_waits_for_work_whose_client_has_left(gateway, examiner):
    """A drain that answered all requests has cut none off, whatever workers are still at."""
    app = with_work_whose_client_has_left(gateway, examiner)
    timer = threading.Timer(0.1, examiner.go.set)
    timer.start()
    assert app.close()
    assert not app.cut_off
    timer.join()


def test_work_that_does_not_end_in_time_is_no_request_that_was_cut_off(
    gateway, examiner, monkeypatch
):
    monkeypatch.setattr("serving.gateway.app._STOP_SECONDS", 0.0)
    app = with_work_whose_client_has_left(gateway, examiner)
    assert not app.close(), "a thread holds the process"
    assert not app.cut_off


def test_requests_that_are_cut_off_are_told_at_the_end(gateway, examiner):
    async def steps():
        app = gateway()
        client = Client(app)
        await soon(lambda: examiner.jobs, "it is looked at")
        client.task.cancel()
        await asyncio.wait([client.task])
        return app

    app = asyncio.run(steps())
    examiner.go.set()
    assert not app.close()
    assert app.cut_off
    assert not app._running
