"""What is sent to a job server of Beam: the same pipeline, with coders that Prism can handle."""

import typing

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.testing.util import assert_that, equal_to

from pipeline.beam_runner import RUNNERS
from pipeline.portable_runner import prefix_lengths, share_coders_of_flattens

pytestmark = pytest.mark.integration

Key = tuple[str, typing.Any, bytes]
LENGTH_PREFIX = common_urns.coders.LENGTH_PREFIX.urn


def sums(pipeline):
    """Keys of three parts, and two collections of unequal coders that are joined twice."""
    typed = pipeline | "typed" >> beam.Create([1, 2]) | "pair" >> beam.Map(_pair)
    whatever = pipeline | "any" >> beam.Create([1]) | "whatever" >> beam.Map(lambda n: _pair(n))
    few = (typed, whatever) | "join" >> beam.Flatten()
    all_of_them = (few, typed) | "join again" >> beam.Flatten()
    return all_of_them | beam.CombinePerKey(sum)


def _pair(number: int) -> tuple[Key, int]:
    return ("key", number, b"-"), number


def test_the_pipeline_gives_the_same():
    """With Beam's own job server, and workers in this process."""
    arguments = [f"--runner={RUNNERS['portable']}", "--job_endpoint=embed"]
    options = PipelineOptions([*arguments, "--environment_type=LOOPBACK"])
    with beam.Pipeline(options=options) as pipeline:
        expected = [(("key", 1, b"-"), 3), (("key", 2, b"-"), 4)]
        assert_that(sums(pipeline), equal_to(expected))


def test_what_is_joined_has_the_coder_of_the_whole():
    pipeline = beam.Pipeline()
    sums(pipeline)
    components = pipeline.to_runner_api().components
    flattens = [
        transform
        for transform in components.transforms.values()
        if transform.spec.urn == common_urns.primitives.FLATTEN.urn
    ]

    def coders(flatten):
        names = [*flatten.inputs.values(), *flatten.outputs.values()]
        return {components.pcollections[name].coder_id for name in names}

    assert max(len(coders(flatten)) for flatten in flattens) > 1
    share_coders_of_flattens(components)
    assert [len(coders(flatten)) for flatten in flattens] == [1, 1]
    # The first one's is that of the second, which joins what it makes.
    assert len(set().union(*map(coders, flattens))) == 1


def test_what_is_grouped_keeps_its_pairs():
    pipeline = beam.Pipeline()
    pairs = pipeline | "pairs" >> beam.Create([("a", 1)])
    _ = pairs | beam.GroupByKey()
    _ = (pairs, pipeline | "number" >> beam.Create([1])) | beam.Flatten()
    components = pipeline.to_runner_api().components
    (grouping,) = (
        transform
        for transform in components.transforms.values()
        if transform.spec.urn == common_urns.primitives.GROUP_BY_KEY.urn
    )
    share_coders_of_flattens(components)
    (name,) = grouping.inputs.values()
    coder = components.coders[components.pcollections[name].coder_id]
    assert coder.spec.urn == common_urns.coders.KV.urn


def test_a_collection_that_is_joined_to_unlike_ones_ends_the_search():
    pipeline = beam.Pipeline()
    number = pipeline | "number" >> beam.Create([1])
    text = pipeline | "text" >> beam.Create(["a"])
    double = pipeline | "double" >> beam.Create([0.5])
    _ = (number, text) | "with text" >> beam.Flatten()
    _ = (number, double) | "with double" >> beam.Flatten().with_output_types(float)
    components = pipeline.to_runner_api().components
    flattens = [
        transform
        for transform in components.transforms.values()
        if transform.spec.urn == common_urns.primitives.FLATTEN.urn
    ]
    (joined_by_both,) = set.intersection(*(set(each.inputs.values()) for each in flattens))
    made = [
        components.pcollections[next(iter(each.outputs.values()))].coder_id for each in flattens
    ]
    assert len(set(made)) == 2
    share_coders_of_flattens(components)
    assert components.pcollections[joined_by_both].coder_id in made


def test_only_what_python_alone_can_decode_gets_its_length():
    pipeline = beam.Pipeline()
    sums(pipeline)
    coders = pipeline.to_runner_api().components.coders
    before = {name: coder.SerializeToString(deterministic=True) for name, coder in coders.items()}
    tuples = [name for name, coder in coders.items() if coder.spec.urn == "beam:coder:tuple:v1"]
    pickled = [name for name in coders if coders[name].spec.urn == "beam:coder:pickled_python:v1"]
    assert tuples
    assert pickled
    prefix_lengths(coders)
    for name, serialized in before.items():
        if name not in (*tuples, *pickled):
            assert coders[name].SerializeToString(deterministic=True) == serialized
            continue
        assert coders[name].spec.urn == LENGTH_PREFIX
        (within,) = coders[name].component_coder_ids
        assert coders[within].SerializeToString(deterministic=True) == serialized
    # What has its length already gets no second one.
    after = {name: coder.SerializeToString(deterministic=True) for name, coder in coders.items()}
    prefix_lengths(coders)
    again = {name: coder.SerializeToString(deterministic=True) for name, coder in coders.items()}
    assert again == after
