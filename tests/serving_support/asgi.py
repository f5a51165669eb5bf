"""The gateway's application without a server: requests in ASGI, and work of a chosen length."""

from __future__ import annotations

import asyncio
import json
import threading
import types

from serving_support.gateway import until

from preprocessing.support.errors import UsageError
from serving.gateway.refusals import Disconnected
from serving.model.verdict import DecisionRule

ANSWER = {
    "score": 0.5,
    "verdict": "uncertain",
    "warning": "",
    "familiarity": None,
    "model": {"version": 7},
}


class Versions:
    """The newest version has a provenance and a decision rule, or cannot be read."""

    readable, provenance, decision_rule = True, None, DecisionRule()

    def newest(self):
        if not self.readable:
            raise UsageError("there is none")
        return types.SimpleNamespace(provenance=self.provenance, decision_rule=self.decision_rule)


class Examiner:
    """Looks at a file until it is let go, as long as somebody waits."""

    def __init__(self):
        self.versions = Versions()
        self.jobs = []
        self.files = []
        self.go = threading.Event()
        self.failure = None

    def examine(self, job):
        self.jobs.append(job)
        self.files.append(job.path.read_bytes())
        assert self.files[-1]
        self.go.wait(60)
        if job.abandoned.is_set():
            raise Disconnected
        if self.failure:
            raise self.failure
        return ANSWER


class Client:
    """One request for a verdict, spoken in ASGI."""

    def __init__(self, app, body=b"x", token="", headers=(), method="POST", path="/v1/verdict"):
        self.sent = []
        self._inbox = asyncio.Queue()
        if body is not None:
            self._inbox.put_nowait({"type": "http.request", "body": body, "more_body": False})
        scope = self._scope(token, headers, method, path)
        self.task = asyncio.create_task(app(scope, self._inbox.get, self._send))

    @classmethod
    async def ask(cls, app, method, path, **given):
        """Status, headers, and JSON or None of a request."""
        client = cls(app, method=method, path=path, **given)
        await asyncio.wait_for(client.task, 60)
        start, *bodies = client.sent
        text = b"".join(body.get("body", b"") for body in bodies)
        return start["status"], dict(start["headers"]), json.loads(text) if text else None

    def leave(self):
        self._inbox.put_nowait({"type": "http.disconnect"})

    async def answer(self):
        """Status, headers and JSON."""
        await asyncio.wait_for(self.task, 60)
        start, body = self.sent
        return start["status"], dict(start["headers"]), json.loads(body["body"])

    async def _send(self, message):
        self.sent.append(message)

    @staticmethod
    def _scope(token, headers, method, path):
        path, _, query = path.partition("?")
        given = [(b"authorization", token.encode())] if token else []
        given += [(name.lower().encode(), value.encode()) for name, value in headers]
        return {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": given,
        }


async def soon(true, what):
    """Lets the loop run until a condition holds."""
    await asyncio.to_thread(until, true, what, 60)
