"""Amazon's S3 and stores compatible with it, through boto3.

Endpoint, region and credentials come from where Amazon's own tools find them: the environment
(`AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, ...), the files in
`~/.aws`, or the machine's role.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from boto3.exceptions import S3UploadFailedError
from botocore import exceptions
from botocore.config import Config

from preprocessing.support.storage.driver import Entry, Sink
from preprocessing.support.storage.errors import (
    CredentialsMissing,
    PassingFault,
    Unreachable,
    of_status,
)

_BLOCK = 1 << 20
_CONFIG = Config(
    connect_timeout=10,
    read_timeout=60,
    # Hashing has 8 threads, and an upload in several parts 10.
    max_pool_connections=20,
    # `Bucket` waits longer, and also where a transfer is cut.
    retries={"mode": "standard", "max_attempts": 2},
)


class S3Driver:
    """The client of one bucket.

    Args:
      bucket: its name.
    """

    def __init__(self, bucket: str):
        self._bucket = bucket
        with self._errors(""):
            # Not boto3's own session, which keeps the credentials that it has found first.
            self._client = boto3.Session().client("s3", config=_CONFIG)

    def entries(self, prefix: str, most: int | None = None) -> Iterator[Entry]:
        """As of `Driver`."""
        paging = {"MaxItems": most, "PageSize": most} if most else {}
        with self._errors(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix, PaginationConfig=paging
            )
            for page in pages:
                yield from map(_entry, page.get("Contents", ()))

    def level(self, prefix: str) -> Iterator[Entry | str]:
        """As of `Driver`."""
        with self._errors(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix, Delimiter="/"
            )
            for page in pages:
                yield from map(_entry, page.get("Contents", ()))
                yield from (common["Prefix"] for common in page.get("CommonPrefixes", ()))

    def entry(self, key: str) -> Entry:
        """As of `Driver`."""
        with self._errors(key):
            head = self._client.head_object(Bucket=self._bucket, Key=key)
            return _entry({**head, "Key": key, "Size": head["ContentLength"]})

    def read(self, key: str, sink: Sink, most: int | None = None) -> int:
        """As of `Driver`."""
        if most is not None and self.entry(key).size == 0:
            return 0  # No range of nothing can be asked for.
        part = {} if most is None else {"Range": f"bytes=0-{most - 1}"}
        with self._errors(key):
            answer = self._client.get_object(Bucket=self._bucket, Key=key, **part)
            with contextlib.closing(answer["Body"]) as body:
                for block in body.iter_chunks(_BLOCK):
                    sink.write(block)
            return int(answer["ContentLength"])

    def write(self, key: str, file: Path) -> None:
        """As of `Driver`."""
        with self._errors(key):
            self._client.upload_file(str(file), self._bucket, key)

    def delete(self, key: str) -> None:
        """As of `Driver`."""
        with self._errors(key):
            self._client.delete_object(Bucket=self._bucket, Key=key)

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Turns boto3's errors into those of the file layer."""
        try:
            yield
        except (exceptions.BotoCoreError, exceptions.ClientError, S3UploadFailedError) as error:
            raise _error(error, f"s3://{self._bucket}/{key}") from error


def _entry(listed: Any) -> Entry:
    changed = listed["LastModified"] - datetime.datetime.fromtimestamp(0, datetime.timezone.utc)
    return Entry(
        key=listed["Key"],
        size=listed["Size"],
        changed_ns=changed // datetime.timedelta(microseconds=1) * 1000,
        version=listed["ETag"].strip('"'),
    )


def _error(error: Exception, uri: str) -> OSError:
    if isinstance(error, S3UploadFailedError) and isinstance(error.__context__, Exception):
        error = error.__context__
    if isinstance(error, exceptions.ClientError):
        answer: Any = error.response
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return of_status(status, answer.get("Error", {}).get("Code", ""), uri)
    if isinstance(
        error,
        exceptions.NoCredentialsError
        | exceptions.PartialCredentialsError
        | exceptions.ProfileNotFound
        | exceptions.CredentialRetrievalError,
    ):
        return CredentialsMissing(f"no credentials ({error})", uri)
    if isinstance(error, exceptions.EndpointConnectionError | exceptions.ConnectTimeoutError):
        return Unreachable(f"the store cannot be reached ({error})", uri)
    if isinstance(
        error,
        exceptions.HTTPClientError
        | exceptions.IncompleteReadError
        | exceptions.FlexibleChecksumError
        | exceptions.ChecksumError,
    ):
        return PassingFault(f"the transfer was cut ({error})", uri)
    return OSError(5, str(error), uri)
