"""What is written down about failures, and which of them are a reason to try again."""

import pytest

from preprocessing.extraction.failures import Failures


def after_run(file, attempt, *paths, reason="gone"):
    """Writes down that a run ended with these failures; returns what the next run reads."""
    Failures.read(file).after(attempt, dict.fromkeys(paths, reason)).write(file)
    return Failures.read(file)


def test_the_attempt_rises_only_after_a_failure(tmp_path):
    file = tmp_path / "failures.json"
    assert Failures.read(file).next_attempt() == 0
    assert after_run(file, 0, "a.mp4").next_attempt() == 1
    assert after_run(file, 1).next_attempt() == 1
    assert after_run(file, 1, "a.mp4").next_attempt() == 2


def test_a_clip_that_fails_again_is_no_reason_for_a_third_try(tmp_path):
    file = tmp_path / "failures.json"
    assert after_run(file, 0, "a.mp4", reason="crashed").next_attempt() == 1
    for _ in range(3):
        assert after_run(file, 1, "a.mp4", reason="hung").next_attempt() == 1
    assert Failures.read(file).clips == {"a.mp4": "hung"}


def test_another_clip_is_a_reason_beside_one_that_always_fails(tmp_path):
    file = tmp_path / "failures.json"
    after_run(file, 0, "a.mp4")
    assert after_run(file, 1, "a.mp4", "b.mp4").next_attempt() == 2
    assert after_run(file, 2, "a.mp4").next_attempt() == 2


def test_a_clip_that_the_store_holds_by_now_is_a_reason(tmp_path):
    file = tmp_path / "failures.json"
    after_run(file, 0, "a.mp4", "b.mp4")
    failures = after_run(file, 1, "a.mp4", "b.mp4")
    assert failures.next_attempt(["b.mp4"]) == 2
    assert failures.next_attempt(["c.mp4"]) == 1


@pytest.mark.parametrize("text", ["", "[]", '{"attempt": "x"}', '{"attempt": 1, "clips": 3}'])
def test_a_broken_file_counts_as_none(tmp_path, text):
    (tmp_path / "failures.json").write_text(text)
    assert Failures.read(tmp_path / "failures.json") == Failures()
