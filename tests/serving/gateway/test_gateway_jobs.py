"""Jobs: queue, results, their end, and what is left on disk; the work's length is the test's."""

import asyncio

import pytest
from serving_support.asgi import ANSWER, Client, soon

from serving.gateway.answer import JobStatus
from serving.gateway.jobs import FILM
from serving.gateway.limits import JobLimits
from serving.gateway.refusals import Refused


async def begun(app, query="", **given):
    """Adds a job; returns its path."""
    status, headers, answer = await Client.ask(app, "POST", f"/v1/jobs{query}", **given)
    assert status == 202
    assert headers[b"location"].decode() == f"/v1/jobs/{answer['id']}"
    assert answer["state"] == "waiting"
    return headers[b"location"].decode()


async def state_of(app, path):
    """The status of a job, as the schema has it but for the answer, which is the test's own."""
    status, _, answer = await Client.ask(app, "GET", path)
    assert status == 200
    JobStatus.model_validate({**answer, "answer": None})
    return answer


async def ended(app, path):
    for _ in range(3000):
        answer = await state_of(app, path)
        if answer["state"] in ("done", "failed"):
            return answer
        await asyncio.sleep(0.02)
    raise AssertionError(f"{path} does not end")


def counts(counter):
    """What a counter has counted, by outcome."""
    return {
        sample.labels["outcome"]: sample.value
        for family in counter.collect()
        for sample in family.samples
        if sample.value
    }


def ended_jobs(app):
    return counts(app._metrics.jobs_ended)


def test_a_job_waits_runs_and_has_a_result_for_a_time(gateway, examiner):
    async def steps():
        app = gateway(jobs=JobLimits(keep=60.0))
        first = await begun(app, "?name=a&explain=1")
        await soon(lambda: examiner.jobs, "the first runs")
        second = await begun(app)
        examiner.jobs[0].on_progress(12, 0)
        answer = await state_of(app, first)
        assert (answer["state"], answer["name"]) == ("running", "a")
        assert answer["progress"] == {"frames": 12, "of": None}
        assert (await state_of(app, second))["state"] == "waiting"
        assert len(app.files()) == 2
        # One at once: the other waits.
        assert len(examiner.jobs) == 1
        assert examiner.jobs[0].explain
        examiner.go.set()
        for path in (first, second):
            answer = await ended(app, path)
            assert (answer["state"], answer["answer"], answer["error"]) == ("done", ANSWER, "")
            assert 0 <= answer["expires_in"] <= 60
        assert len(app.files()) == 2
        app.jobs.limits = JobLimits(keep=0.1)
        third = await begun(app)
        await soon(lambda: len(app.files()) == 2, "its result is gone")
        status, _, answer = await Client.ask(app, "GET", third)
        assert (status, answer["error"]) == (
            404, "there is no such job; results are kept for a time",
        )  # fmt: skip
        assert ended_jobs(app) == {"uncertain": 3}

    asyncio.run(steps())


def test_the_file_goes_when_it_was_looked_at_and_the_film_when_the_job_is_dropped(
    gateway, examiner
):
    async def steps():
        app = gateway()
        path = await begun(app, "?overlay=1")
        await soon(lambda: examiner.jobs, "it runs")
        film = examiner.jobs[0].overlay / FILM
        assert (await Client.ask(app, "GET", f"{path}/overlay.mp4"))[0] == 404
        film.write_bytes(b"a film")
        examiner.go.set()
        assert (await ended(app, path))["overlay"] == f"{path}/overlay.mp4"
        assert [one.name for one in film.parent.iterdir()] == [FILM]
        client = Client(app, method="GET", path=f"{path}/overlay.mp4", body=None)
        await asyncio.wait_for(client.task, 60)
        assert client.sent[0]["status"] == 200
        assert dict(client.sent[0]["headers"])[b"content-type"] == b"video/mp4"
        assert b"".join(part.get("body", b"") for part in client.sent[1:]) == b"a film"
        assert (await Client.ask(app, "DELETE", path))[0] == 204
        assert not app.files()
        for method in ("GET", "DELETE"):
            assert (await Client.ask(app, method, path))[0] == 404

    asyncio.run(steps())


def test_parts_of_a_film_that_cannot_be_had_are_refused_in_json(gateway, examiner, document):
    async def steps():
        app = gateway()
        path = await begun(app, "?overlay=1")
        await soon(lambda: examiner.jobs, "it runs")
        (examiner.jobs[0].overlay / FILM).write_bytes(b"a film")
        examiner.go.set()
        await ended(app, path)
        described = document["paths"]["/v1/jobs/{job}/overlay.mp4"]["get"]["responses"]
        for asked, expected in (("bytes=9-", 416), ("bytes=x", 400), ("frames=1-2", 400)):
            given = {"headers": [("Range", asked)]}
            status, headers, answer = await Client.ask(app, "GET", f"{path}/overlay.mp4", **given)
            assert (status, headers[b"content-type"]) == (expected, b"application/json")
            example = described[str(expected)]["content"]["application/json"]["example"]
            assert answer == example
            assert headers.get(b"content-range") == {416: b"bytes */6"}.get(expected)

    asyncio.run(steps())


def test_jobs_are_cancelled_while_they_wait_and_while_they_run(gateway, examiner):
    async def steps():
        app = gateway()
        running = await begun(app)
        await soon(lambda: examiner.jobs, "it runs")
        waiting = await begun(app)
        assert (await Client.ask(app, "DELETE", waiting))[0] == 204
        await asyncio.sleep(0)
        assert len(app.files()) == 1
        assert (await Client.ask(app, "DELETE", running))[0] == 204
        assert examiner.jobs[0].abandoned.is_set()
        examiner.go.set()
        await soon(lambda: not app.files(), "nothing is left")
        assert len(examiner.jobs) == 1
        assert ended_jobs(app) == {"cancelled": 2}
        # The turn was given back.
        assert (await ended(app, await begun(app)))["state"] == "done"

    asyncio.run(steps())


def test_one_job_more_than_there_is_room_for_is_told_to_come_again(gateway, examiner):
    async def steps():
        app = gateway(waiting=4, jobs=JobLimits(unfinished=2))
        paths = [await begun(app), await begun(app)]
        status, headers, answer = await Client.ask(app, "POST", "/v1/jobs")
        assert (status, answer["error"]) == (503, "2 jobs wait or run already")
        assert int(headers[b"retry-after"]) > 0
        assert counts(app._metrics.jobs_refused) == {"busy": 1}
        examiner.go.set()
        for path in paths:
            await ended(app, path)
        # Results do not count, and of these the oldest go.
        for _ in range(8):
            paths.append(await begun(app))
            await ended(app, paths[-1])
        known = [(await Client.ask(app, "GET", path))[0] for path in paths]
        assert known == [404] * 2 + [200] * 8

    asyncio.run(steps())


def test_a_job_leaves_turns_to_requests_for_a_verdict(gateway, examiner):
    async def steps():
        app = gateway(workers=2, waiting=4)
        await begun(app)
        await begun(app)
        verdict = Client(app)
        await soon(lambda: len(examiner.jobs) == 2, "a job and the request run")
        assert not examiner.jobs[1].overlay
        assert (await state_of(app, (await begun(app))))["state"] == "waiting"
        examiner.go.set()
        assert (await verdict.answer())[0] == 200

    asyncio.run(steps())


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (Refused(400, "it cannot be read", "unreadable"), 400, "it cannot be read"),
        (RuntimeError("/secret/path"), 500, "the gateway's log says why"),
    ],
)
def test_failures_are_told_by_the_job(gateway, examiner, failure, status, words):
    async def steps():
        app = gateway()
        examiner.failure = failure
        examiner.go.set()
        answer = await ended(app, await begun(app))
        assert (answer["state"], answer["status"], answer["answer"]) == ("failed", status, None)
        assert words in answer["error"]
        assert "secret" not in answer["error"]

    asyncio.run(steps())


def test_what_is_no_file_is_refused_before_there_is_a_job(gateway, examiner):
    async def steps():
        app = gateway(token="let me in")
        assert (await Client.ask(app, "POST", "/v1/jobs"))[0] == 401
        for body, query, status in (
            (b"", "", 400),
            (bytes(101), "", 413),
            (b"x", "?miss_rate=2", 400),
        ):
            given = {"token": "Bearer let me in", "body": body}
            assert (await Client.ask(app, "POST", f"/v1/jobs{query}", **given))[0] == status
        assert not app.files()
        refused = {"unreadable": 1, "too_large": 1, "usage": 1}
        assert counts(app._metrics.jobs_refused) == refused
        for path in ("/v1/jobs/x", "/v1/jobs/x/overlay.mp4"):
            assert (await Client.ask(app, "GET", path))[0] == 401
            assert (await Client.ask(app, "GET", path, token="Bearer let me in"))[0] == 404

    asyncio.run(steps())


def test_the_end_of_the_gateway_ends_jobs_and_takes_their_files(gateway, examiner):
    async def steps():
        app = gateway()
        await begun(app)
        await soon(lambda: examiner.jobs, "it runs")
        await begun(app)
        return app

    app = asyncio.run(steps())
    examiner.go.set()
    assert app.close()
    assert examiner.jobs[0].abandoned.is_set()
    assert not app._folder.exists()


def test_the_oldest_films_make_room_for_new_ones(gateway, examiner):
    async def steps():
        app = gateway(jobs=JobLimits(film_bytes=10))
        paths = []
        for size in (4, 4, 4, 11):
            examiner.go.clear()
            known = len(examiner.jobs)
            paths.append(await begun(app, "?overlay=1"))
            await soon(lambda known=known: len(examiner.jobs) > known, "it runs")
            (examiner.jobs[-1].overlay / FILM).write_bytes(bytes(size))
            examiner.go.set()
            await ended(app, paths[-1])
            films = [(await state_of(app, path))["overlay"] for path in paths]
            # The newest stays, whatever its size.
            kept = {1: 1, 2: 2, 3: 2, 4: 1}[len(paths)]
            assert [bool(film) for film in films] == [False] * (len(paths) - kept) + [True] * kept
        assert (await Client.ask(app, "GET", f"{paths[0]}/overlay.mp4"))[0] == 404
        assert (await state_of(app, paths[0]))["answer"] == ANSWER

    asyncio.run(steps())


def test_a_job_that_failed_leaves_no_part_of_its_film(gateway, examiner):
    async def steps():
        app = gateway()
        examiner.failure = Refused(503, "there is no room for the film", "busy")
        path = await begun(app, "?overlay=1")
        await soon(lambda: examiner.jobs, "it runs")
        folder = examiner.jobs[0].overlay
        (folder / FILM).write_bytes(b"half a film")
        examiner.go.set()
        assert (await ended(app, path))["state"] == "failed"
        assert not list(folder.iterdir())

    asyncio.run(steps())
