"""Google Cloud Storage, through Google's client.

Credentials are the application's default ones; `STORAGE_EMULATOR_HOST` names another server.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from google.api_core import exceptions
from google.auth import exceptions as auth_exceptions
from google.cloud.exceptions import GoogleCloudError
from google.cloud.storage import Client
from google.resumable_media import DataCorruption, InvalidResponse

from preprocessing.support.storage.driver import Entry, Sink
from preprocessing.support.storage.errors import (
    CredentialsMissing,
    PassingFault,
    Unreachable,
    absent,
    of_status,
)

# Seconds until a connection, and until the next bytes.
_TIMEOUT = (10, 60)


class GcsDriver:
    """The client of one bucket.

    Args:
      bucket: its name.
    """

    def __init__(self, bucket: str):
        self._name = bucket
        with self._errors(""):
            self._client = Client()
            self._bucket = self._client.bucket(bucket)

    def entries(self, prefix: str, most: int | None = None) -> Iterator[Entry]:
        """As of `Driver`."""
        with self._errors(prefix):
            yield from map(_entry, self._list(prefix, max_results=most))

    def level(self, prefix: str) -> Iterator[Entry | str]:
        """As of `Driver`."""
        with self._errors(prefix):
            listed = self._list(prefix, delimiter="/")
            yield from map(_entry, listed)
            yield from listed.prefixes

    def entry(self, key: str) -> Entry:
        """As of `Driver`."""
        with self._errors(key):
            blob = self._bucket.get_blob(key, timeout=_TIMEOUT, retry=None)
            if blob is None:
                raise absent(f"gs://{self._name}/{key}")
            return _entry(blob)

    def read(self, key: str, sink: Sink, most: int | None = None) -> int:
        """As of `Driver`."""
        size = self.entry(key).size
        expected = size if most is None else min(size, most)
        if expected:
            with self._errors(key):
                self._bucket.blob(key).download_to_file(
                    sink,
                    end=None if most is None else most - 1,
                    # As it is stored: what is stored compressed is not unpacked.
                    raw_download=True,
                    timeout=_TIMEOUT,
                    retry=None,
                )
        return expected

    def write(self, key: str, file: Path) -> None:
        """As of `Driver`."""
        with self._errors(key):
            self._bucket.blob(key).upload_from_filename(str(file), timeout=_TIMEOUT)

    def delete(self, key: str) -> None:
        """As of `Driver`."""
        with self._errors(key), contextlib.suppress(exceptions.NotFound):
            self._bucket.blob(key).delete(timeout=_TIMEOUT, retry=None)

    def _list(self, prefix: str, **how: Any) -> Any:
        return self._client.list_blobs(
            self._name, prefix=prefix, timeout=_TIMEOUT, retry=None, **how
        )

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Turns the client's errors into those of the file layer."""
        uri = f"gs://{self._name}/{key}"
        try:
            yield
        except auth_exceptions.DefaultCredentialsError as error:
            raise CredentialsMissing(f"no credentials ({error})", uri) from error
        except GoogleCloudError as error:
            raise of_status(int(error.code or 0), error.message, uri) from error
        except (auth_exceptions.TransportError, requests.ConnectionError) as error:
            if isinstance(error, requests.ConnectionError) and "aborted" in str(error):
                raise PassingFault(f"the transfer was cut ({error})", uri) from error
            raise Unreachable(f"the store cannot be reached ({error})", uri) from error
        except (requests.RequestException, DataCorruption, InvalidResponse) as error:
            raise PassingFault(f"the transfer was cut ({error})", uri) from error


def _entry(blob: Any) -> Entry:
    changed = blob.updated - datetime.datetime.fromtimestamp(0, datetime.timezone.utc)
    return Entry(
        key=blob.name,
        size=blob.size,
        changed_ns=changed // datetime.timedelta(microseconds=1) * 1000,
        version=str(blob.generation),
    )
