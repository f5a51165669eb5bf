"""Checks of options that server and gateway share."""

import types

import pytest

from preprocessing.support.errors import UsageError
from serving.http.arguments import check_not_negative, check_positive, url_host


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_numbers_without_a_meaning_are_refused(value):
    arguments = types.SimpleNamespace(head_timeout=value)
    for check in (check_positive, check_not_negative):
        with pytest.raises(UsageError, match="--head-timeout must"):
            check(arguments, ["head_timeout"])


def test_zero_is_not_negative_and_not_positive():
    arguments = types.SimpleNamespace(drain=0)
    check_not_negative(arguments, ["drain"])
    with pytest.raises(UsageError, match="--drain must be more than 0"):
        check_positive(arguments, ["drain"])


def test_addresses_of_ipv6_stand_in_brackets():
    assert [url_host(host) for host in ("::1", "127.0.0.1", "localhost")] == [
        "[::1]",
        "127.0.0.1",
        "localhost",
    ]
