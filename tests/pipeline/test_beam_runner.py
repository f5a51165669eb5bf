"""Where Beam runs: arguments by node, what is refused, job servers that do not answer."""

from concurrent import futures

import grpc
import pytest
from ports import refusing_port

from pipeline.beam_runner import NODES, RUNNERS, beam_args, check_job_servers, job_endpoints
from pipeline.cli import main
from pipeline.config import load_config
from preprocessing.support.beam_args import local_args
from preprocessing.support.errors import UsageError

PORTABLE = "runner=portable,job_endpoint=here:8099"


def test_nothing_configured_runs_here():
    assert load_config("demo").beam == ()
    for node in NODES:
        assert beam_args((), node) == local_args()
    assert beam_args((), "FaceExtractor", 3) == local_args(3)
    assert beam_args(["--some=1"], "Transform", 2) == [*local_args(2), "--some=1"]


def test_a_portable_runner_gets_its_arguments():
    texts = [f"{PORTABLE},environment_type=EXTERNAL", "environment_config=there:50000", "--a=b:c,d"]
    arguments = beam_args(texts, "Evaluator", workers=4)
    assert arguments[0] == f"--runner={RUNNERS['portable']}"
    assert arguments[-4:] == [
        "--job_endpoint=here:8099",
        "--environment_type=EXTERNAL",
        "--environment_config=there:50000",
        "--a=b:c,d",
    ]
    assert not [argument for argument in arguments if argument.startswith("--direct")]


def test_texts_of_a_node_take_the_place_of_the_others():
    texts = [PORTABLE, "--a=1", "Transform:runner=local", "Evaluator:runner=flink,parallelism=8"]
    assert beam_args(texts, "Transform") == local_args()
    assert beam_args(texts, "StatisticsGen")[-1] == "--a=1"
    evaluator = beam_args(texts, "Evaluator")
    assert evaluator[0] == f"--runner={RUNNERS['flink']}"
    assert evaluator[-1] == "--parallelism=8"
    assert job_endpoints(texts) == ["here:8099"]
    assert job_endpoints(["Transform:runner=portable,job_endpoint=b:2", "runner=local"]) == ["b:2"]


@pytest.mark.integration
@pytest.mark.parametrize("runner", ["portable", "flink", "spark", "dataflow"])
def test_beam_knows_the_runners_and_the_arguments(runner):
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import create_runner

    assert type(create_runner(RUNNERS[runner])).__name__ == RUNNERS[runner].rpartition(".")[2]
    arguments = beam_args([f"runner={runner},job_endpoint=a:1,parallelism=3"], "Transform")
    options = PipelineOptions(arguments).get_all_options()
    assert (options["job_endpoint"], options["parallelism"]) == ("a:1", 3)
    # Nor does it end a job that takes longer than a minute.
    assert options["job_server_timeout"] > 86400 or runner == "dataflow"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[runner=portabel]", "beam: runner: 'portabel' is not known; did you mean 'portable'"),
        ("[runner=portable]", "runner=portable needs job_endpoint=HOST:PORT"),
        ("['runner=portable,job_endpont=a:1']", "did you mean 'job_endpoint'"),
        ("['runner=portable,job_endpoint=a']", "job_endpoint: 'a' is no address"),
        ("['runner=portable,job_endpoint=a:70000']", "'a:70000' is no address"),
        ("['job_endpoint=a:1']", "the local runner has none; name another"),
        ("['Trainer:runner=flink']", "'Trainer' is no node that Beam runs"),
        ("['Transfrom:runner=flink']", "did you mean 'Transform'"),
        ("['runner=flink,parallelism=0']", "parallelism: '0' is outside 1 to"),
        ("['runner=flink,environment_type=DOCKR']", "did you mean 'DOCKER'"),
        ("['runner=flink,environment_type=EXTERNAL']", "environment_config: '' is no address"),
        ("['runner=']", "write runner=VALUE"),
        ("['project=x']", "as in --project=VALUE"),
        ("runner=flink", "is not a list"),
    ],
)
def test_what_cannot_be_is_refused_in_words(text, message):
    with pytest.raises(UsageError, match=message):
        load_config("demo", [f"beam={text}"])


# Beam itself would ask the server for a minute, and longer.
@pytest.mark.timeout(60)
@pytest.mark.integration
@pytest.mark.parametrize("command", ["extract", "run", "score"])
def test_a_job_server_that_is_not_there_ends_a_command_at_once(command, tmp_path, capfd):
    output = tmp_path / ("out.parquet" if command == "score" else "out")
    with refusing_port() as port:
        text = f"runner=portable,job_endpoint=localhost:{port}"
        arguments = [command, "--data", str(tmp_path), "--output", str(output), "--beam", text]
        assert main(arguments) == 2
    said = "".join(capfd.readouterr())
    assert f"no Beam job server answers at {text.partition(',')[2]} (unavailable)" in said
    assert "as in `prism --job_port " in said
    assert "Traceback" not in said


@pytest.mark.integration
def test_a_server_of_something_else_is_no_job_server():
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with pytest.raises(UsageError, match=f"job_endpoint=127.0.0.1:{port} .unimplemented"):
            check_job_servers([f"runner=portable,job_endpoint=127.0.0.1:{port}"])
    finally:
        server.stop(0)
