"""FaceExtractor: the pipeline's ExampleGen, from a manifest of clips to Examples of faces."""

from __future__ import annotations

import json
from typing import Any

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts
from tfx.types.experimental import simple_artifacts

from components.face_extractor import executor


class FaceExtractorSpec(component_spec.ComponentSpec):
    """The parameters of the executor; each is a reason to run again, `store` and `workers` too."""

    PARAMETERS = {
        "manifest": component_spec.ExecutionParameter(type=str),
        "manifest_digest": component_spec.ExecutionParameter(type=str),
        "root": component_spec.ExecutionParameter(type=str),
        "store": component_spec.ExecutionParameter(type=str),
        "settings": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str),
        "failures": component_spec.ExecutionParameter(type=str),
        "attempt": component_spec.ExecutionParameter(type=int),
        "workers": component_spec.ExecutionParameter(type=int),
    }
    INPUTS: dict[str, component_spec.ChannelParameter] = {}
    OUTPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "report": component_spec.ChannelParameter(type=simple_artifacts.File),
    }


class FaceExtractor(base_beam_component.BaseBeamComponent):
    """Cuts the faces out of the clips of a manifest.

    Component `outputs` contains:
     - `examples`: Channel of type `standard_artifacts.Examples` with the splits train, val and
       test; gzip TFRecords of the features in preprocessing/extraction/face_example.py.
     - `report`: Channel of type `File`: `report.json`, one row a clip, and `report.txt`.
    """

    SPEC_CLASS = FaceExtractorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        manifest: str,
        manifest_digest: str,
        root: str,
        store: str,
        settings: dict[str, Any],
        code: str,
        failures: str,
        attempt: int = 0,
        workers: int = 1,
    ):
        """Constructs the component.

        Args:
          manifest: path of the manifest (CSV; see preprocessing/manifest/manifest.py).
          manifest_digest: its digest; a changed, added or removed clip changes it.
          root: folder that the clips' paths start from.
          store: folder of finished clips, shared by runs; another one, or another number of
            `workers`, makes the same records, but TFX's cache does not know that.
          settings: `preprocessing.faces.crop_settings.CropSettings` as plain values.
          code: digest of the extraction's code.
          failures: file of the clips that failed in the last run of this configuration; see
            `preprocessing.extraction.failures.Failures`.
          attempt: rises after a run in which clips failed for a passing reason, so that TFX does
            not reuse what was made without them.
          workers: Beam worker processes.
        """
        spec = FaceExtractorSpec(
            manifest=manifest,
            manifest_digest=manifest_digest,
            root=root,
            store=store,
            settings=json.dumps(settings, sort_keys=True),
            code=code,
            failures=failures,
            attempt=attempt,
            workers=workers,
            examples=channel_utils.as_channel([standard_artifacts.Examples()]),
            report=channel_utils.as_channel([simple_artifacts.File()]),
        )
        super().__init__(spec=spec)
