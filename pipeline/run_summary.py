"""The summary of a local run, read from the metadata store and the artifacts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2

from components.evaluation import serving_result
from components.evaluation.bounds import BoundResult
from components.evaluation.serving_result import ServingResult
from pipeline.config import Config
from pipeline.inputs import Inputs
from preprocessing.extraction import extraction_report
from preprocessing.manifest.manifest import Manifest
from serving.model import card
from serving.model.verdict import DecisionRule

# Of the clips' measures, those in the table; the report has all of them.
_HEADLINE = ("auc", "accuracy", "eer", "tpr_at_fpr_1pct")
_CACHED = metadata_store_pb2.Execution.CACHED


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """The outcome of one run.

    Attributes:
      nodes: node id to "executed" or "cached".
      seconds: node id to the time from its registration to its outcome in the metadata store, of
        the nodes that were executed, in the order of their starts.
      extraction: summary of the extraction report.
      metrics: TFMA's overall metrics on the test split, by name.
      clips: overall metrics of the test split's clips, by name.
      gate: one row a bound, see `components.evaluation.bounds.BoundResult`.
      blessed: whether both gates, on frames and on clips, blessed the model.
      serving_check: findings of ServingCheck, see components/evaluation/serving_result.py.
      refused_by: nodes that kept the model from being pushed (`gate`, `InfraValidator`, `serving
        check`), with the reasons; empty when nobody did.
      model: folder of the trained model.
      pushed: folder of the pushed version, by this run or by an earlier one whose Pusher it
        reuses; empty when nothing was pushed.
      archive: folder of Pusher's own copy of that version.
      evaluation: folder of TFMA's results.
      clip_evaluation: folder of the scores and measures of clips.
      report: folder of the extraction report.
      page: the report of the run, as HTML.
      problems: the file that names the problems of the dataset's folder, where the extraction
        report is of an earlier run and names others; else empty.
      warning: why the model's scores are no verdicts; empty for a model of real data.
    """

    nodes: dict[str, str]
    seconds: dict[str, float]
    extraction: dict[str, Any]
    metrics: dict[str, float]
    clips: dict[str, dict[str, Any]]
    gate: list[dict[str, Any]]
    blessed: bool
    serving_check: dict[str, Any]
    refused_by: dict[str, list[str]]
    model: str
    pushed: str
    archive: str
    evaluation: str
    clip_evaluation: str
    report: str
    page: str
    problems: str = ""
    warning: str = ""

    def write(self, path: Path) -> None:
        """Writes it as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1), encoding="utf-8")

    def table(self) -> str:
        """The short table that ends a run."""
        counts = self.extraction
        reported = "".join(
            f"; {number} reported: {reason}" for reason, number in counts["reasons"].items()
        )
        bounds = f"\n{'':<14}".join(BoundResult.from_json(row).text() for row in self.gate)
        failed = counts.get("clips_failed", 0)
        warning = (
            f"WITHOUT {failed} clips that could not be read now; the same command tries them again"
        )
        rows = {
            "clips": f"{counts['clips']}, {counts['clips_with_faces']} with faces{reported}",
            **({"": warning} if failed else {}),
            "faces": f"{counts['crops']} crops of {counts['faces']} faces found",
            "test frames": ", ".join(
                f"{name.replace('_', ' ')} {value:.4g}"
                for name, value in sorted(self.metrics.items())
            ),
            "test clips": ", ".join(
                f"{name.replace('_', ' ')} {_measure(self.clips[name])}" for name in _HEADLINE
            ),
            "gate": f"{'passed' if self.blessed else 'REFUSED'}\n{'':<14}{bounds}",
            "serving check": self._serving_check().replace("\n", f"\n{'':<14}"),
            "pushed": self.pushed or self._not_pushed(),
            "executed": f"\n{'':<14}".join(self._seconds()) or "nothing: all from the cache",
            "model": self.model,
            "evaluation": self.evaluation,
            "clip scores": self.clip_evaluation,
            "report": self.page,
            "faces report": f"{self.report}/report.txt{self._problems()}",
            **({"warning": self.warning} if self.warning else {}),
        }
        return "\n".join(f"{name:<14}{value}" for name, value in rows.items())

    def _seconds(self) -> list[str]:
        """A line a node that was executed, and their sum."""
        if not self.seconds:
            return []
        by_node = {**self.seconds, "together": sum(self.seconds.values())}
        width = max(map(len, by_node))
        return [f"{node:<{width}}{seconds:>9.1f} s" for node, seconds in by_node.items()]

    def _serving_check(self) -> str:
        result = ServingResult(**self.serving_check)
        if result.skipped:
            return f"not run: {result.skipped}"
        return f"{'passed' if result.blessed else 'REFUSED'}\n{result.text()}"

    def _problems(self) -> str:
        if not self.problems:
            return ""
        text = "from an earlier run; the folder's problems have changed since, see "
        return f"\n{'':<14}{text}{self.problems}"

    def _not_pushed(self) -> str:
        refused = " and ".join(self.refused_by)
        return f"nothing: refused by the {refused}" if refused else "nothing"


def _measure(measure: dict[str, Any]) -> str:
    if measure["value"] is None:
        return f"- ({measure['note']})"
    between = "" if measure["low"] is None else f" [{measure['low']:.3f}, {measure['high']:.3f}]"
    return f"{measure['value']:.3f}{between}"


def problems_now(config: Config, inputs: Inputs, problems: list[dict[str, str]]) -> str:
    """Where the problems of the dataset's folder stand, if those of a report are others.

    FaceExtractor's cache key says nothing of them: what is no clip has no faces.

    Args:
      config: the run's configuration.
      inputs: what the run started from.
      problems: problems that an `ExtractionReport` names.

    Returns:
      The path of a file; empty where the report has the present ones.
    """
    manifest = Manifest.read_csv(inputs.manifest, inputs.root)
    reported = {(problem["path"], problem["reason"]) for problem in problems}
    if {(problem.path, problem.reason) for problem in manifest.problems} == reported:
        return ""
    return f"{config.output}/inputs/dataset.txt"


def summarise(config: Config, inputs: Inputs, store: mlmd.MetadataStore, run: str) -> RunSummary:
    """Collects the outcome of a finished run.

    Args:
      config: the run's configuration.
      inputs: what the run started from.
      store: the metadata store, which may hold runs of others that ended later.
      run: name of the run's context.
    """
    # Loads TFMA and TensorFlow, which the message of a failed run can do without.
    from components.evaluation import frame_gate, results
    from components.evaluation.measurement import find

    nodes, seconds, outputs = executions(store, run, config.name)
    evaluation = outputs["Evaluator", "evaluation"].uri
    clip_evaluation = outputs["ClipEvaluator", "evaluation"].uri
    blessing = outputs["ClipEvaluator", "blessing"]
    pushed = outputs["Pusher", "pushed_model"]
    report = outputs["FaceExtractor", "report"].uri
    extraction = extraction_report.read(report)
    rows = [*frame_gate.read(evaluation), *results.read_verdict(clip_evaluation)]
    served = serving_result.read(outputs["ServingCheck", "report"].uri)
    infra = outputs.get(("InfraValidator", "blessing"))
    model = f"{outputs['Trainer', 'model'].uri}/Format-Serving"
    rule = DecisionRule.of(card.read(model))
    return RunSummary(
        nodes=nodes,
        seconds=seconds,
        extraction=extraction.summary,
        metrics=frame_gate.metrics_by_slice(evaluation).get("", {}),
        clips=find(results.read(clip_evaluation).splits["test"].clips).to_dict()["metrics"],
        gate=[row.as_json() for row in rows],
        blessed=_blessed(blessing),
        serving_check=dataclasses.asdict(served),
        refused_by=_refused_by(rows, _blessed(blessing), infra is None or _blessed(infra), served),
        model=model,
        pushed=pushed.custom_properties["pushed_destination"].string_value
        if pushed.custom_properties["pushed"].int_value == 1
        else "",
        archive=pushed.uri,
        evaluation=evaluation,
        clip_evaluation=clip_evaluation,
        report=report,
        page=f"{outputs['Report', 'report'].uri}/report.html",
        problems=problems_now(config, inputs, extraction.problems),
        warning=rule.meaning() if rule.warning else "",
    )


def executions(
    store: mlmd.MetadataStore, run: str, pipeline: str
) -> tuple[dict[str, str], dict[str, float], dict[tuple[str, str], Any]]:
    """What the nodes of a run did.

    Args:
      store: the metadata store.
      run: name of the run's context.
      pipeline: the pipeline's name.

    Returns:
      The `nodes` and `seconds` of a RunSummary, and the artifact of each node and output key.
    """
    nodes: dict[str, str] = {}
    seconds: dict[str, float] = {}
    outputs: dict[tuple[str, str], Any] = {}
    context = store.get_context_by_type_and_name("pipeline_run", run).id
    for execution in sorted(store.get_executions_by_context(context), key=lambda e: e.id):
        node = _node_id(store, execution, pipeline)
        state = "cached" if execution.last_known_state == _CACHED else "executed"
        if not execution.type.endswith("Resolver"):
            nodes[node] = state
            if state == "executed":
                milliseconds = (
                    execution.last_update_time_since_epoch - execution.create_time_since_epoch
                )
                seconds[node] = milliseconds / 1000
        events = store.get_events_by_execution_ids([execution.id])
        output_keys = {
            e.artifact_id: e.path.steps[0].key
            for e in events
            if e.type in (metadata_store_pb2.Event.OUTPUT, metadata_store_pb2.Event.PENDING_OUTPUT)
        }
        for artifact in store.get_artifacts_by_id(list(output_keys)):
            outputs[node, output_keys[artifact.id]] = artifact
    return nodes, seconds, outputs


def _blessed(blessing: Any) -> bool:
    return blessing.custom_properties["blessed"].int_value == 1


def _refused_by(
    rows: list[BoundResult], gates: bool, infra: bool, served: ServingResult
) -> dict[str, list[str]]:
    refusals = {}
    if not gates:
        refusals["gate"] = [row.text() for row in rows if not row.held]
    if not infra:
        refusals["InfraValidator"] = ["the image did not load or answer; the run's log says more"]
    if served.problems:
        refusals["serving check"] = served.problems
    return refusals


def _node_id(store: mlmd.MetadataStore, execution: Any, pipeline: str) -> str:
    for context in store.get_contexts_by_execution(execution.id):
        if context.type == "node":
            return context.name.removeprefix(f"{pipeline}.")
    raise LookupError(f"execution {execution.id} belongs to no node")
