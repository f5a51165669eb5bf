"""What the files of control groups say, and what is refused below need."""

import pytest

from preprocessing.support import memory_limit
from preprocessing.support.errors import UsageError
from serving.http.memory_need import check_memory_for


@pytest.fixture
def limit(tmp_path, monkeypatch):
    """Has the file of version 1 or 2 hold a text; the other is not there."""

    def limit(text, version=2):
        paths = [tmp_path / "memory.max", tmp_path / "memory.limit_in_bytes"]
        paths[2 - version].write_text(f"{text}\n")
        monkeypatch.setattr(memory_limit, "_FILES", tuple(map(str, paths)))

    return limit


@pytest.mark.parametrize(
    ("text", "version", "limit_bytes"),
    [
        ("536870912", 2, 512 << 20),
        ("536870912", 1, 512 << 20),
        ("max", 2, None),
        ("9223372036854771712", 1, None),
    ],
)
def test_limit_is_that_of_the_container(limit, text, version, limit_bytes):
    limit(text, version)
    assert memory_limit.memory_limit() == limit_bytes


def test_without_control_groups_nothing_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_limit, "_FILES", (str(tmp_path / "none"),))
    assert memory_limit.memory_limit() is None
    check_memory_for(server=True, workers=100)


def test_too_little_is_refused_and_enough_is_not(limit):
    limit(str(1024 << 20))
    check_memory_for(server=True)
    check_memory_for(workers=2)
    with pytest.raises(UsageError, match=r"1024 MiB.*the gateway needs 1280 MiB: raise"):
        check_memory_for(workers=3)
    with pytest.raises(UsageError, match=r"the server with the gateway needs 1536 MiB"):
        check_memory_for(server=True, workers=2)
