import os

import pytest

from preprocessing.support import cpus


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Four CPUs, and control groups' files that the test may write."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    for name in ("_QUOTA", "_QUOTA_1", "_PERIOD_1"):
        monkeypatch.setattr(cpus, name, tmp_path / name)
    return tmp_path


def test_a_machine_without_limits(machine):
    assert cpus.available_cpus() == 4
    (machine / "_QUOTA").write_text("max 100000\n")
    assert cpus.available_cpus() == 4
    (machine / "_QUOTA_1").write_text("-1\n")
    (machine / "_PERIOD_1").write_text("100000\n")
    assert cpus.available_cpus() == 4


@pytest.mark.parametrize(("quota", "expected"), [("50000", 1), ("250000", 2), ("900000", 4)])
def test_the_quota_of_a_container(machine, quota, expected):
    (machine / "_QUOTA").write_text(f"{quota} 100000\n")
    assert cpus.available_cpus() == expected
    (machine / "_QUOTA").unlink()
    (machine / "_QUOTA_1").write_text(f"{quota}\n")
    (machine / "_PERIOD_1").write_text("100000\n")
    assert cpus.available_cpus() == expected


def test_workers_divide_the_cpus_that_there_are(machine, monkeypatch):
    assert [cpus.threads_of_a_worker(workers) for workers in (1, 2, 3, 9)] == [0, 2, 1, 1]
    (machine / "_QUOTA").write_text("200000 100000\n")
    assert [cpus.threads_of_a_worker(workers) for workers in (1, 2)] == [2, 1]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert cpus.threads_of_a_worker(1) == 1
