"""Retries, deadlines and addresses of the scorers, against servers that misbehave on purpose."""

import contextlib
import http.server
import threading
import time
from concurrent import futures

import grpc
import pytest
from ports import refusing_port
from serving_support.planned_servers import CROPS, FAST, GrpcFake, Plan, rest_handler, start_grpc
from tensorflow_serving.apis import prediction_service_pb2_grpc

from preprocessing.support.errors import UsageError
from serving.clients import ClientSettings, ScoringError, connect
from serving.clients.grpc_scorer import GrpcScorer


@pytest.fixture(params=["grpc", "http"])
def serve(request):
    """Starts a server with a plan; gives its URL."""
    closers = []

    def start(plan):
        closers.append(plan.over.set)
        if request.param == "grpc":
            server, port = start_grpc(plan)
            closers.append(lambda: server.stop(None))
            return f"grpc://127.0.0.1:{port}"
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), rest_handler(plan))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        closers.append(server.shutdown)
        closers.append(server.server_close)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for close in closers:
        close()


def test_unavailable_is_tried_again_and_only_that(serve):
    plan = Plan("UNAVAILABLE", "UNAVAILABLE")
    with connect(serve(plan), "m", ClientSettings(**FAST)) as scorer:
        assert scorer.score(CROPS).logits.tolist() == [3, 6, 9]
    assert len(plan.batches) == 3


def test_which_versions_are_served_is_asked_again(serve):
    plan = Plan(looks=["UNAVAILABLE", "UNAVAILABLE"], version=7)
    with connect(serve(plan), "m", ClientSettings(**FAST)) as scorer:
        assert scorer.versions() == [7]
        assert plan.asked == 3
        plan.looks = ["RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNAVAILABLE"]
        with pytest.raises(ScoringError, match="RESOURCE_EXHAUSTED: planned"):
            scorer.versions()
        with pytest.raises(ScoringError, match="DEADLINE_EXCEEDED"):
            scorer.versions(deadline=0.0)
    assert plan.asked == 4


@pytest.mark.parametrize("serve", ["grpc"], indirect=True)
def test_what_a_stopping_server_cancels_is_tried_again(serve):
    plan = Plan("CANCELLED")
    with connect(serve(plan), "m", ClientSettings(**FAST)) as scorer:
        assert scorer.score(CROPS).logits.tolist() == [3, 6, 9]
    assert len(plan.batches) == 2


@pytest.mark.parametrize("serve", ["grpc"], indirect=True)
def test_closing_a_scorer_ends_what_it_waits_for(serve):
    plan = Plan("hang")
    with futures.ThreadPoolExecutor(1) as threads:
        scorer = connect(serve(plan), "m", ClientSettings(**FAST))
        answer = threads.submit(scorer.score, CROPS)
        while not plan.batches:
            time.sleep(0.01)
        scorer.close()
        with pytest.raises(ScoringError, match="this scorer was closed"):
            answer.result()
    assert len(plan.batches) == 1


def test_attempts_end(serve):
    plan = Plan(*["UNAVAILABLE"] * 9)
    with (
        connect(serve(plan), "m", ClientSettings(attempts=3, **FAST)) as scorer,
        pytest.raises(ScoringError) as raised,
    ):
        scorer.score(CROPS)
    assert raised.value.code == "UNAVAILABLE"
    assert len(plan.batches) == 3


@pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "INVALID_ARGUMENT"])
def test_other_failures_are_not_tried_again(serve, code):
    plan = Plan(code)
    with (
        connect(serve(plan), "m", ClientSettings(**FAST)) as scorer,
        pytest.raises(ScoringError, match="planned") as raised,
    ):
        scorer.score(CROPS)
    assert raised.value.code == code
    assert len(plan.batches) == 1


def test_deadline_holds_over_all_batches(serve):
    plan = Plan(None, "hang")
    start = time.monotonic()
    with (
        connect(serve(plan), "m", ClientSettings(batch_size=1, deadline=2.0)) as scorer,
        pytest.raises(ScoringError) as raised,
    ):
        scorer.score(CROPS)
    assert raised.value.code == "DEADLINE_EXCEEDED"
    assert time.monotonic() - start < 30
    assert len(plan.batches) == 2


def test_a_model_that_lacks_an_output_is_said_to_be_another(serve):
    with (
        connect(serve(Plan()), "m", ClientSettings(output_name="other")) as scorer,
        pytest.raises(ScoringError, match="no output 'other'; is it a model of this") as raised,
    ):
        scorer.score(CROPS)
    assert raised.value.code == "INTERNAL"
    assert "address" not in str(raised.value)


def test_batches_are_split(serve):
    plan = Plan()
    with connect(serve(plan), "m", ClientSettings(batch_size=2)) as scorer:
        assert scorer.score(CROPS).scores.tolist() == [3, 6, 9]
    assert [len(batch) for batch in plan.batches] == [2, 1]


def test_server_that_is_not_there():
    for scheme in ("grpc", "http"):
        with (
            refusing_port() as port,
            connect(
                f"{scheme}://127.0.0.1:{port}", "m", ClientSettings(attempts=2, **FAST)
            ) as scorer,
            pytest.raises(ScoringError) as raised,
        ):
            scorer.score(CROPS)
        assert raised.value.code == "UNAVAILABLE"


def test_a_scorer_finds_a_server_that_was_started_again():
    """One channel for the life of a gateway: it must not wait for minutes before it tries again."""

    def start(port):
        server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 1)])
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            GrpcFake(Plan()), server
        )
        server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        return server

    # Held, so that nobody else gets the port meanwhile.
    with refusing_port(shared=True) as port:
        server = start(port)
        try:
            with connect(f"grpc://127.0.0.1:{port}", "m", ClientSettings(attempts=1)) as scorer:
                assert scorer.score(CROPS).logits.tolist() == [3, 6, 9]
                server.stop(None).wait()
                for _ in range(60):  # Enough failures for gRPC's waits to grow.
                    with pytest.raises(ScoringError):
                        scorer.score(CROPS)
                    time.sleep(0.1)
                server = start(port)
                patient = ClientSettings(attempts=8, first_wait=0.5, longest_wait=0.5, deadline=60)
                scorer.settings = patient
                assert scorer.score(CROPS).logits.tolist() == [3, 6, 9]
        finally:
            server.stop(None)


@pytest.fixture
def two_servers():
    """Plans of two gRPC servers, and an address that names both, as a name with two addresses."""
    plans, servers, ports = [Plan(), Plan()], [], []
    for plan in plans:
        server, port = start_grpc(plan)
        ports.append(port)
        servers.append(server)
    yield plans, servers, "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
    for server in servers:
        server.stop(None)


def test_one_server_of_an_address_is_asked_while_its_connection_lasts(two_servers):
    """The next one may serve another version still, which would refuse the one that was chosen."""
    plans, _, address = two_servers
    with GrpcScorer(address, "m", ClientSettings()) as scorer:
        for _ in range(10):
            scorer.score(CROPS)
    assert sorted(len(plan.batches) for plan in plans) == [0, 10]


def test_files_are_spread_over_the_servers_of_an_address(two_servers):
    """All calls about one go to one server."""
    plans, _, address = two_servers
    with GrpcScorer(address, "m", ClientSettings()) as scorer, contextlib.ExitStack() as stack:
        # At the same time, so that a connection to either server is ready already.
        of_files = [stack.enter_context(scorer.for_file()) for _ in range(40)]
        for _ in range(2):
            for number, of_file in enumerate(of_files):
                of_file.score([bytes(number)])
    first, second = ([len(crop) for (crop,) in plan.batches] for plan in plans)
    assert first
    assert second
    assert sorted(first + second) == sorted([*range(40), *range(40)])
    assert not set(first) & set(second)


def test_an_address_without_a_server_is_passed_over(two_servers):
    plans, servers, address = two_servers
    servers[0].stop(None).wait()
    with GrpcScorer(address, "m", ClientSettings(attempts=1)) as scorer:
        for _ in range(20):
            with scorer.for_file() as of_file:
                of_file.score(CROPS)
    assert [len(plan.batches) for plan in plans] == [0, 20]


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8500", "ftp://a:1", "grpc://a", "http://", "grpc://a:port", ""]
)
def test_addresses_that_are_none(url):
    with pytest.raises(UsageError, match="no address of a server"):
        connect(url, "m")
