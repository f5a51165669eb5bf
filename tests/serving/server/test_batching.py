"""Batches, with a stand-in for the model that shows what was run together."""

import threading
import time

import numpy as np
import pytest

from preprocessing.support.errors import UsageError
from serving.server.batching import MAX_ABANDONED, Batcher
from serving.server.metrics import Metrics
from serving.server.status_codes import Code, ServingError
from serving.server.text_config import BatchingConfig, read_batching_config

# Seconds in which a thread takes a batch; those behind the first are for a busy machine.
LONG_ENOUGH_TO_BEGIN = (0.3, 2.0, 10.0)


class Doubler:
    """Doubles its input; holds each run until it is let go, and remembers the batch sizes."""

    name = "doubler"

    def __init__(self, held=False, broken=False):
        self.sizes = []
        self.go = threading.Event()
        self.began = threading.Event()
        self._broken = broken
        if not held:
            self.go.set()

    def run(self, feeds, fetches, deadline):
        self.sizes.append(len(feeds["x"]))
        self.began.set()
        assert self.go.wait(60)
        if self._broken:
            raise ServingError(Code.INTERNAL, "broken")
        return [feeds["x"] * 2]


@pytest.fixture
def batcher():
    made = []

    def make(**values):
        made.append(Batcher(BatchingConfig(**values), Metrics()))
        return made[-1]

    yield make
    for each in made:
        each.close()


def row(*values):
    return {"x": np.array(values, np.float32)}


def ask(batcher, model, feeds, seconds=60.0):
    return batcher.run(model, feeds, ["y"], time.monotonic() + seconds)[0]


def ask_all(batcher, model, feeds):
    """Asks from one thread each, in order; returns the threads and their results."""
    results = [None] * len(feeds)

    def work(number):
        try:
            results[number] = ask(batcher, model, feeds[number])
        except ServingError as error:
            results[number] = error

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(feeds))]
    for thread in threads:
        thread.start()
    return threads, results


def waiting(batcher):
    return sum(len(queue) for queue in list(batcher._queues.values()))


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_requests_that_wait_are_run_together_and_get_their_own_rows(batcher):
    model = Doubler(held=True)
    batches = batcher(max_batch_size=8, num_batch_threads=1)
    first, _ = ask_all(batches, model, [row(0)])
    assert model.began.wait(60)
    others, results = ask_all(batches, model, [row(1), row(2, 3), row(4)])
    until(lambda: waiting(batches) == 3)
    model.go.set()
    for thread in first + others:
        thread.join()
    assert [list(result) for result in results] == [[2], [4, 6], [8]]
    assert model.sizes == [1, 4]


def test_full_batch_does_not_wait_and_a_partial_one_does(batcher):
    model = Doubler()
    batches = batcher(max_batch_size=4, batch_timeout_micros=60_000_000, num_batch_threads=1)
    threads, results = ask_all(batches, model, [row(1, 2), row(3, 4), row(5)])
    # Two of the three fill a batch, whichever come first.
    until(lambda: model.sizes in ([4], [3]))
    until(lambda: waiting(batches) >= 1)
    batches.close()
    for thread in threads:
        thread.join()
    assert sorted(value for result in results for value in result) == [2, 4, 6, 8, 10]


def test_partial_batch_runs_after_its_time(batcher):
    model = Doubler()
    batches = batcher(max_batch_size=4, batch_timeout_micros=100_000)
    start = time.monotonic()
    assert list(ask(batches, model, row(1))) == [2]
    assert time.monotonic() - start >= 0.1


def test_padding_to_allowed_sizes_is_cut_off_again(batcher):
    model = Doubler()
    batches = batcher(max_batch_size=8, allowed_batch_sizes=(2, 4, 8))
    assert list(ask(batches, model, row(1, 2, 3))) == [2, 4, 6]
    assert list(ask(batches, model, row(1))) == [2]
    assert model.sizes == [4, 2]


@pytest.mark.difference
def test_other_shapes_models_and_fetches_do_not_mix(batcher):
    one, two = Doubler(held=True), Doubler()
    batches = batcher(max_batch_size=8, num_batch_threads=1)
    blocked, _ = ask_all(batches, one, [row(0)])
    assert one.began.wait(60)
    wide = {"x": np.ones((1, 3), np.float32)}
    threads, results = ask_all(batches, two, [row(1), wide, row(2)])
    until(lambda: waiting(batches) == 3)
    one.go.set()
    for thread in blocked + threads:
        thread.join()
    assert sorted(two.sizes) == [1, 2]
    assert results[1].tolist() == [[2, 2, 2]]


def test_full_queue_is_refused_at_once(batcher):
    model = Doubler(held=True)
    batches = batcher(max_batch_size=2, max_enqueued_batches=2, num_batch_threads=1)
    first, _ = ask_all(batches, model, [row(0)])
    assert model.began.wait(60)
    others, _ = ask_all(batches, model, [row(n) for n in range(4)])
    until(lambda: waiting(batches) == 4)
    with pytest.raises(ServingError) as raised:
        ask(batches, model, row(9))
    assert raised.value.code is Code.UNAVAILABLE
    model.go.set()
    for thread in first + others:
        thread.join()


def test_deadline_in_the_queue(batcher):
    model = Doubler(held=True)
    batches = batcher(max_batch_size=1, num_batch_threads=1)
    first, _ = ask_all(batches, model, [row(0)])
    assert model.began.wait(60)
    with pytest.raises(ServingError) as raised:
        ask(batches, model, row(1), seconds=0.05)
    assert raised.value.code is Code.DEADLINE_EXCEEDED
    model.go.set()
    first[0].join()
    assert list(ask(batches, model, row(3))) == [6]
    assert model.sizes == [1, 1]  # What nobody waits for any more is not run.


class Picky(Doubler):
    """Fails as a whole when one of its rows is negative, as a graph does that cannot decode one."""

    def run(self, feeds, fetches, deadline):
        outputs = super().run(feeds, fetches, deadline)
        if (feeds["x"] < 0).any():
            raise ServingError(Code.INVALID_ARGUMENT, "Unknown image file format")
        return outputs


def together(batches, model, feeds):
    """Asks for one batch of all feeds, behind one that holds the thread; returns the results."""
    first, _ = ask_all(batches, model, [row(0)])
    assert model.began.wait(60)
    others, results = ask_all(batches, model, feeds)
    until(lambda: waiting(batches) == len(feeds))
    model.go.set()
    for thread in first + others:
        thread.join()
    return results


@pytest.mark.difference
def test_a_bad_request_of_a_batch_fails_alone(batcher):
    model = Picky(held=True)
    batches = batcher(max_batch_size=8, num_batch_threads=1)
    results = together(batches, model, [row(1), row(2, 3), row(-4), row(5)])
    assert model.sizes[:2] == [1, 5]
    assert sorted(model.sizes[2:]) == [1, 1, 1, 2]
    assert [list(results[number]) for number in (0, 1, 3)] == [[2], [4, 6], [10]]
    assert isinstance(results[2], ServingError)
    assert results[2].code is Code.INVALID_ARGUMENT


def test_an_error_of_all_requests_of_a_batch_reaches_each(batcher):
    model = Doubler(held=True, broken=True)
    results = together(batcher(max_batch_size=8, num_batch_threads=1), model, [row(1), row(2)])
    assert all(isinstance(result, ServingError) for result in results)
    assert list(ask(batcher(max_batch_size=4), Doubler(), row(1))) == [2]


def test_a_batch_that_ran_too_long_is_not_run_again(batcher):
    class Late(Doubler):
        def run(self, feeds, fetches, deadline):
            super().run(feeds, fetches, deadline)
            raise ServingError(Code.DEADLINE_EXCEEDED, "the model ran too long")

    model = Late(held=True)
    batches = batcher(max_batch_size=8, num_batch_threads=1)
    results = together(batches, model, [row(1), row(2)])
    assert {result.code for result in results} == {Code.DEADLINE_EXCEEDED}
    assert model.sizes == [1, 2]


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        (row(1, 2, 3), "Task size 3 is larger than maximum input batch size 2"),
        ({"x": np.float32(1).reshape([])}, "at least one dimension"),
        ({**row(1), "z": np.ones(2)}, "equal 0th-dimension size"),
    ],
)
def test_what_cannot_be_batched(batcher, feeds, message):
    with pytest.raises(ServingError) as raised:
        ask(batcher(max_batch_size=2), Doubler(), feeds)
    assert raised.value.code is Code.INVALID_ARGUMENT
    assert message in raised.value.message


def ask_in_vain(batcher, model, feeds):
    """Asks until a run has begun that outlasts the request's deadline; returns the error."""
    begun = len(model.sizes)
    for seconds in LONG_ENOUGH_TO_BEGIN:
        with pytest.raises(ServingError) as raised:
            ask(batcher, model, feeds, seconds=seconds)
        if "in the batching queue" not in raised.value.message:
            until(lambda: len(model.sizes) > begun)
            break
    return raised.value


@pytest.mark.difference
def test_a_batch_that_nobody_waits_for_frees_its_thread(batcher):
    late, other = Doubler(held=True), Doubler()
    batches = batcher(max_batch_size=4, num_batch_threads=1)
    for count in range(1, MAX_ABANDONED + 1):
        assert ask_in_vain(batches, late, row(0)).code is Code.DEADLINE_EXCEEDED
        assert late.sizes == [1] * count
        if count < MAX_ABANDONED:
            assert list(ask(batches, other, row(1))) == [2]
    with pytest.raises(ServingError, match="still run") as raised:
        ask(batches, other, row(1))
    assert raised.value.code is Code.RESOURCE_EXHAUSTED
    late.go.set()
    until(lambda: not batches._abandoned_batches)
    assert list(ask(batches, other, row(1))) == [2]
    until(lambda: sum(thread.is_alive() for thread in batches._threads) == 1)


def test_a_batch_is_not_left_while_one_of_its_requests_waits(batcher):
    for seconds in LONG_ENOUGH_TO_BEGIN:
        model = Doubler(held=True)
        batches = batcher(max_batch_size=2, batch_timeout_micros=60_000_000, num_batch_threads=1)
        patient, results = ask_all(batches, model, [row(1)])
        until(lambda batches=batches: waiting(batches) == 1)
        with pytest.raises(ServingError) as raised:
            ask(batches, model, row(2), seconds=seconds)
        if "while the model ran" in raised.value.message:
            break
        model.go.set()
    assert "while the model ran" in raised.value.message
    # A full batch: a free thread would take it at once.
    with pytest.raises(ServingError, match="in the batching queue"):
        ask(batches, Doubler(), row(3, 4), seconds=0.2)
    model.go.set()
    patient[0].join()
    assert list(results[0]) == [2]


@pytest.mark.parametrize("rows", [1, 3, 4, 7, 10])
def test_large_requests_are_split(batcher, rows):
    model = Doubler()
    batches = batcher(
        max_batch_size=10, enable_large_batch_splitting=True, max_execution_batch_size=3
    )
    assert list(ask(batches, model, row(*range(rows)))) == [2 * n for n in range(rows)]
    assert sum(model.sizes) == rows
    assert max(model.sizes) <= 3
    with pytest.raises(ServingError, match=r"Task size 11 is larger than .* 10"):
        ask(batches, model, row(*range(11)))


def test_parameters_file(tmp_path):
    path = tmp_path / "batching.config"
    path.write_text(
        "max_batch_size { value: 16 }\nbatch_timeout_micros { value: 0 }\n"
        "max_enqueued_batches { value: 4 }\nnum_batch_threads { value: 2 }\n"
        "allowed_batch_sizes: 4\nallowed_batch_sizes: 16\n"
    )
    assert read_batching_config(str(path)) == BatchingConfig(16, 0, 4, 2, (4, 16))
    path.write_text("")
    assert read_batching_config(str(path)).max_batch_size == 1000
    path.write_text("enable_large_batch_splitting { value: false }")
    assert read_batching_config(str(path)) == BatchingConfig()
    path.write_text("enable_large_batch_splitting { value: true }")
    assert read_batching_config(str(path)).most_rows == 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_sise { value: 16 }", "max_batch_sise"),
        ("max_batch_size: 16", "cannot be used"),
        ("max_batch_size { value: 0 }", "at least 1"),
        ("max_batch_size { value: 16 } allowed_batch_sizes: 8", "must be max_batch_size"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: [8, 8]", "rise"),
        ("enable_large_batch_splitting { value: true } max_execution_batch_size { value: 2000 }",
         "must not be more than max_batch_size (1000)"),
        ("enable_large_batch_splitting { value: true } max_execution_batch_size { value: 0 }",
         "max_execution_batch_size is 0"),
        ("enable_large_batch_splitting { value: true } max_execution_batch_size { value: 8 } "
         "allowed_batch_sizes: 4", "must be max_execution_batch_size (8)"),
    ],
)  # fmt: skip
def test_parameters_file_errors(tmp_path, text, message):
    path = tmp_path / "batching.config"
    path.write_text(text)
    with pytest.raises(UsageError) as raised:
        read_batching_config(str(path))
    assert message in str(raised.value)
    assert str(path) in str(raised.value)
