"""One bucket of an object store, asked patiently."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from preprocessing.support.errors import UsageError
from preprocessing.support.storage.driver import Driver, Entry, Sink
from preprocessing.support.storage.errors import (
    CredentialsMissing,
    PassingFault,
    Unreachable,
)

# Seconds for which a request is tried again while the store is busy or away.
PATIENCE = 120.0
_LONGEST_PAUSE = 10.0

_Result = TypeVar("_Result")
_Sink = TypeVar("_Sink", bound=Sink)


class Bucket:
    """A bucket; faults that may pass are waited for.

    Args:
      uri: as in `s3://videos`.
      driver: its client.
      patience: seconds; see `PATIENCE`.
    """

    def __init__(self, uri: str, driver: Driver, patience: float = PATIENCE):
        self.uri = uri
        self._driver = driver
        self._patience = patience

    def check(self, prefix: str = "") -> None:
        """Asks, once, for one object whose key begins with a text: others may not be allowed.

        Raises:
          UsageError: the bucket cannot be used; the message says what would mend it.
        """
        remedies = _REMEDIES[self.uri.partition("://")[0]]
        try:
            list(self._driver.entries(prefix, most=1))
        except CredentialsMissing as error:
            raise UsageError(f"{self.uri}: {error.strerror}; {remedies['credentials']}") from error
        except FileNotFoundError as error:
            raise UsageError(
                f"{self.uri}: there is no such bucket; create it, or name another"
            ) from error
        except PermissionError as error:
            raise UsageError(
                f"{self.uri}: {error.strerror}; use credentials that may list, read and write it "
                f"({remedies['credentials']})"
            ) from error
        except Unreachable as error:
            raise UsageError(f"{self.uri}: {error.strerror}; {remedies['endpoint']}") from error
        except PassingFault as error:
            raise UsageError(f"{self.uri}: {error.strerror}; try again later") from error

    def entries(self, prefix: str) -> list[Entry]:
        """All objects whose keys begin with a text."""
        return self._patiently(lambda: list(self._driver.entries(prefix)))

    def any_below(self, prefix: str) -> bool:
        """Whether a key begins with a text."""
        return bool(self._patiently(lambda: list(self._driver.entries(prefix, most=1))))

    def level(self, prefix: str) -> list[Entry | str]:
        """The objects down to the next slash, and what several others begin with."""
        return self._patiently(lambda: list(self._driver.level(prefix)))

    def entry(self, key: str) -> Entry:
        """One object.

        Raises:
          FileNotFoundError: there is none.
        """
        return self._patiently(lambda: self._driver.entry(key))

    def read(self, key: str, new_sink: Callable[[], _Sink], most: int | None = None) -> _Sink:
        """Reads an object, all of it or none: a transfer that was cut begins anew.

        Args:
          key: of the object.
          new_sink: makes an empty receiver for each attempt.
          most: bytes that are wanted of its beginning; None for all.

        Returns:
          The receiver that has got the content.

        Raises:
          FileNotFoundError: there is none.
        """

        def attempt() -> _Sink:
            sink = new_sink()
            counting = _Counting(sink)
            expected = self._driver.read(key, counting, most)
            if counting.bytes != expected:
                raise PassingFault(
                    f"{counting.bytes} of {expected} bytes came", f"{self.uri}/{key}"
                )
            return sink

        return self._patiently(attempt)

    def write(self, key: str, file: Path) -> None:
        """Uploads a file; until that is complete, the object is as it was before."""
        self._patiently(lambda: self._driver.write(key, file))

    def delete(self, key: str) -> None:
        """Deletes an object; that it does not exist is no error."""
        self._patiently(lambda: self._driver.delete(key))

    def _patiently(self, work: Callable[[], _Result]) -> _Result:
        import tenacity

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(PassingFault),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=_LONGEST_PAUSE),
            stop=tenacity.stop_after_delay(self._patience),
            reraise=True,
        )(work)


class _Counting:
    """Counts the bytes that pass to a sink."""

    def __init__(self, sink: Sink):
        self._sink = sink
        self.bytes = 0

    def write(self, data: bytes, /) -> int:
        self.bytes += len(data)
        self._sink.write(data)
        return len(data)


_REMEDIES = {
    "s3": {
        "credentials": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        "endpoint": "set AWS_ENDPOINT_URL_S3 to the address of the store, or unset it (and "
        "AWS_ENDPOINT_URL) for Amazon's own",
    },
    "gs": {
        "credentials": "run `gcloud auth application-default login`, or set "
        "GOOGLE_APPLICATION_CREDENTIALS to the file of a service account",
        "endpoint": "check the network, and STORAGE_EMULATOR_HOST if it is set",
    },
}
SCHEMES = tuple(_REMEDIES)
# What decides where a client connects, and as whom.
_SETTINGS = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "STORAGE_EMULATOR_HOST",
    "GOOGLE_APPLICATION_CREDENTIALS",
)


def bucket_of(scheme: str, name: str) -> Bucket:
    """The bucket of a URI; nothing is asked yet.

    Args:
      scheme: `s3` or `gs`.
      name: of the bucket.

    Raises:
      UsageError: a package is missing, or there are no credentials.
    """
    return _bucket(scheme, name, tuple(os.environ.get(setting) for setting in _SETTINGS))


@functools.lru_cache(maxsize=16)
def _bucket(scheme: str, name: str, settings: tuple[str | None, ...]) -> Bucket:
    uri = f"{scheme}://{name}"
    try:
        driver = _driver(scheme)
    except ImportError as error:
        raise UsageError(
            f"{uri}: the package {error.name} is missing; install this project with the extra "
            "`pipeline`: pip install 'deepfake-detection[pipeline]'"
        ) from error
    try:
        return Bucket(uri, driver(name))
    except CredentialsMissing as error:
        raise UsageError(f"{uri}: {error.strerror}; {_REMEDIES[scheme]['credentials']}") from error


def _driver(scheme: str) -> Callable[[str], Driver]:
    # Loaded when they are asked for: what serves models has no object store.
    if scheme == "s3":
        from preprocessing.support.storage.s3 import S3Driver

        return S3Driver
    from preprocessing.support.storage.gcs import GcsDriver

    return GcsDriver
