"""Names of metadata stores, as `metadata` has them; without ml_metadata."""

from __future__ import annotations

import dataclasses
import urllib.parse

_FORM = "mysql://USER@HOST:PORT/DATABASE"
_PORT = 3306


@dataclasses.dataclass(frozen=True)
class MySQL:
    """A database of a MySQL server, and who uses it."""

    user: str
    host: str
    port: int
    database: str

    @classmethod
    def parse(cls, text: str) -> MySQL | None:
        """The database that a text names; None where it names a file.

        >>> MySQL.parse("mysql://me@db.example/runs")
        MySQL(user='me', host='db.example', port=3306, database='runs')

        Raises:
          ValueError: it is no address, or holds a password.
        """
        if "://" not in text:
            return None
        url = urllib.parse.urlsplit(text)
        if url.password is not None:
            # Not repeated here: messages are printed and logged.
            raise ValueError(f"a password does not belong into the configuration; write {_FORM}")
        try:
            port = url.port or _PORT
        except ValueError:
            port = 0
        user, database = urllib.parse.unquote(url.username or ""), url.path.strip("/")
        if url.scheme != "mysql" or not (user and url.hostname and port and database):
            raise ValueError(f"{text!r} is no address of a database; write {_FORM}, or a file")
        return cls(user, url.hostname, port, database)
