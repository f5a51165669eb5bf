"""Beam's portable runner, for job servers that know Beam's coders and not those of Python alone."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability import portable_runner

_BY_KEY = {
    common_urns.primitives.GROUP_BY_KEY.urn,
    common_urns.composites.COMBINE_PER_KEY.urn,
    common_urns.combine_components.COMBINE_PER_KEY_PRECOMBINE.urn,
}


class PortableRunner(portable_runner.PortableRunner):
    """Sends pipelines whose coders a job server knows, or need not know."""

    def create_job_service_handle(
        self, job_service: Any, options: PipelineOptions
    ) -> portable_runner.JobServiceHandle:
        """As that of Beam; the pipeline is changed on its way."""
        return _JobServiceHandle(job_service, options)


class _JobServiceHandle(portable_runner.JobServiceHandle):
    def submit(self, proto_pipeline: beam_runner_api_pb2.Pipeline) -> Any:
        share_coders_of_flattens(proto_pipeline.components)
        prefix_lengths(proto_pipeline.components.coders)
        return super().submit(proto_pipeline)


def share_coders_of_flattens(components: beam_runner_api_pb2.Components) -> None:
    """Gives what a Flatten joins the coder of what it makes, in place.

    Prism (2.61) has the same in mind, but replaces the coder itself, wherever else it is used: a
    pair whose second part has the coder of one of the joined is replaced by a pair in itself, and
    so on until the stack is full.

    Args:
      components: components of an optimised pipeline. Each element can be encoded by either coder,
        since the collection that is made holds them all. What is grouped by its keys keeps its
        coder, which must be one of pairs.
    """
    flattens = [
        transform
        for transform in components.transforms.values()
        if transform.spec.urn == common_urns.primitives.FLATTEN.urn
    ]
    grouped = {
        collection
        for transform in components.transforms.values()
        if transform.spec.urn in _BY_KEY
        for collection in transform.inputs.values()
    }
    collections = components.pcollections
    # What a Flatten makes may be joined by another one.
    for _ in flattens:
        for flatten in flattens:
            (output,) = flatten.outputs.values()
            for joined in set(flatten.inputs.values()) - grouped:
                collections[joined].coder_id = collections[output].coder_id


def prefix_lengths(coders: MutableMapping[str, beam_runner_api_pb2.Coder]) -> None:
    """Puts the length before what only Python's SDK can decode, in place.

    Job servers do so with coders that they do not know. Prism (2.61) forgets some, those of tuples
    of three among them, which are the keys of TensorFlow Data Validation, and fails at them:
    `unknown coder urn key`. A coder that has its length is left as it is by all.

    Args:
      coders: name -> coder of an optimised pipeline. A coder that is not among Beam's standard ones
        gets another name, and its own is that of the one with the length.
    """
    standard = {coder.urn for coder in vars(common_urns.coders).values() if hasattr(coder, "urn")}
    named = {
        component
        for coder in coders.values()
        if coder.spec.urn == common_urns.coders.LENGTH_PREFIX.urn
        for component in coder.component_coder_ids
    }
    for name in sorted(set(coders) - named):
        if coders[name].spec.urn in standard:
            continue
        within = f"{name}_without_length"
        coders[within].CopyFrom(coders[name])
        coders[name].Clear()
        coders[name].spec.urn = common_urns.coders.LENGTH_PREFIX.urn
        coders[name].component_coder_ids.append(within)
