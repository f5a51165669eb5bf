"""TensorFlow Serving's inference methods on arrays: checks against signatures, and the run."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import tensorflow as tf

from serving.server.manager import ModelManager
from serving.server.metrics import Metrics
from serving.server.servable import DEFAULT_SIGNATURE, Servable
from serving.server.served_model import Target
from serving.server.status_codes import Code, ServingError, invalid

PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"

Run = Callable[[Servable, str, Mapping[str, np.ndarray], Sequence[str], float], list[np.ndarray]]

# A request of more rows that fails is not searched for the row: halving takes up to as long again.
_MOST_ROWS_SEARCHED = 64


@dataclasses.dataclass(frozen=True)
class Classifications:
    """What `classify` answers: labels, scores or both, each [examples, classes]."""

    labels: np.ndarray | None
    scores: np.ndarray | None

    def rows(self) -> Iterator[list[tuple[bytes, Any]]]:
        """(label, score) pairs of each example; what the model does not give is empty or 0."""
        values = self.scores if self.scores is not None else self.labels
        shape = cast("np.ndarray", values).shape
        labels = self.labels if self.labels is not None else np.full(shape, b"", object)
        scores = self.scores if self.scores is not None else np.zeros(shape, np.float32)
        for row_labels, row_scores in zip(labels, scores, strict=True):
            yield list(zip(row_labels, row_scores, strict=True))


class Inference:
    """The methods of PredictionService, without the wire.

    Args:
      manager: finds versions.
      run: function that runs them, `Runner.run`.
      metrics: metrics in which examples are counted.
      check_methods: whether a signature must carry the method name of the request, which
        signatures of TensorFlow 2 do not; TensorFlow Serving's
        `enable_signature_method_name_check`.
    """

    def __init__(
        self, manager: ModelManager, run: Run, metrics: Metrics, check_methods: bool = False
    ):
        self.manager = manager
        self._run = run
        self._metrics = metrics
        self._check_methods = check_methods

    @contextlib.contextmanager
    def model(self, target: Target) -> Iterator[Servable]:
        """Holds the version that a request names; see `ModelManager.acquire`."""
        with self.manager.acquire(target) as servable:
            yield servable

    def predict(
        self,
        servable: Servable,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        deadline: float,
        output_filter: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
          servable: the version.
          signature_name: empty takes `serving_default`.
          inputs: arrays by input name; strings as objects (bytes).
          deadline: `time.monotonic` reading.
          output_filter: names of the outputs that are wanted; none wants all.

        Returns:
          Arrays by output name.

        Raises:
          ServingError: FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT for inputs
            that do not fit it, or what the run failed with.
        """
        name = signature_name or DEFAULT_SIGNATURE
        signature = servable.signatures.get(name)
        if signature is None:
            raise ServingError(
                Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
            )
        if self._check_methods and signature.method_name not in (PREDICT, CLASSIFY, REGRESS):
            raise ServingError(
                Code.INTERNAL,
                "Expected prediction signature method_name to be one of "
                f"{{{PREDICT}, {CLASSIFY}, {REGRESS}}}. Was: {signature.method_name}",
            )
        inputs = _with_defaults(signature, inputs)
        for alias in inputs:
            _check_type(alias, inputs[alias], signature.inputs[alias])
        aliases = _outputs(signature, output_filter)
        tensors = {alias: signature.outputs[alias].name for alias in aliases}
        if not tensors:
            raise ServingError(Code.FAILED_PRECONDITION, f'Signature "{name}" has no outputs.')
        feeds = {signature.inputs[alias].name: inputs[alias] for alias in inputs}
        fetches = tuple(tensors.values())
        try:
            values = self._run(servable, "Predict", feeds, fetches, deadline)
        except ServingError as error:
            raise self._with_row(error, servable, feeds, fetches, deadline) from error
        return dict(zip(tensors, values, strict=True))

    def _with_row(
        self,
        error: ServingError,
        servable: Servable,
        feeds: Mapping[str, np.ndarray],
        fetches: tuple[str, ...],
        deadline: float,
    ) -> ServingError:
        """The error of a run, with the first row that fails by itself where there is one.

        The graph names none: its operations see one row at a time, or all. Halving finds the row
        for at most the work of the request itself.
        """
        sizes = {len(feed) if feed.ndim else 0 for feed in feeds.values()}
        rows = sizes.pop() if len(sizes) == 1 else 0
        if error.code is not Code.INVALID_ARGUMENT or not 1 < rows <= _MOST_ROWS_SEARCHED:
            return error
        low, high, sure = 0, rows, False
        while high - low > 1 or not sure:
            middle = max(low + 1, (low + high) // 2)
            part = {name: feed[low:middle] for name, feed in feeds.items()}
            try:
                self._run(servable, "Predict", part, fetches, deadline)
            except ServingError as failure:
                if failure.code is not Code.INVALID_ARGUMENT:
                    return error
                high, sure, error = middle, True, failure
            else:
                if middle == high:  # No row fails by itself.
                    return error
                low, sure = middle, False
        return invalid(f"row {low} of {rows}, counted from 0: {error.message}")

    def classify(
        self, servable: Servable, signature_name: str, examples: Sequence[bytes], deadline: float
    ) -> Classifications:
        """Runs a signature that answers `classes`, `scores` or both on serialized tf.Examples."""
        feed, fetches, signature = self._tensors_of(servable, signature_name, CLASSIFY)
        values = self._on_examples(servable, "Classify", examples, {feed}, fetches, deadline)
        return _classifications(signature, values, len(examples))

    def regress(
        self, servable: Servable, signature_name: str, examples: Sequence[bytes], deadline: float
    ) -> np.ndarray:
        """Runs a signature that answers `outputs` on serialized tf.Examples; float32 [examples]."""
        feed, fetches, signature = self._tensors_of(servable, signature_name, REGRESS)
        values = self._on_examples(servable, "Regress", examples, {feed}, fetches, deadline)
        return _regressions(signature, values, len(examples))

    def multi_inference(
        self,
        servable: Servable,
        tasks: Sequence[tuple[str, str]],
        examples: Sequence[bytes],
        deadline: float,
    ) -> list[Classifications | np.ndarray]:
        """Runs several signatures of one model on the same examples in one step.

        Args:
          servable: the version.
          tasks: (signature name, method name) of each.
          examples: serialized tf.Examples.
          deadline: `time.monotonic` reading.

        Returns:
          What `classify` or `regress` returns, for each task.
        """
        feeds: set[str] = set()
        fetches: dict[str, None] = {}
        signatures: list[tuple[str, str, Any]] = []
        for signature_name, method in tasks:
            name = signature_name or DEFAULT_SIGNATURE
            if name in [used for used, _, _ in signatures]:
                raise invalid(f"Duplicate evaluation of signature: {name}")
            if name not in servable.signatures:
                raise invalid(f"Requested signature not found in model graph: {name}")
            if method not in (CLASSIFY, REGRESS):
                raise ServingError(
                    Code.UNIMPLEMENTED, f"Unsupported signature method_name: {method}"
                )
            feed, outputs, signature = self._tensors_of(servable, name, method)
            feeds.add(feed)
            fetches.update(dict.fromkeys(outputs))
            signatures.append((name, method, signature))
        if not signatures:
            raise invalid("Inference request must have at least one task.")
        values = self._on_examples(
            servable, "MultiInference", examples, feeds, tuple(fetches), deadline
        )
        return [
            (_classifications if method == CLASSIFY else _regressions)(
                signature, values, len(examples)
            )
            for _, method, signature in signatures
        ]

    def _tensors_of(
        self, servable: Servable, signature_name: str, method: str
    ) -> tuple[str, list[str], Any]:
        """Names of a signature's input and output tensors, and the signature itself."""
        name = signature_name or DEFAULT_SIGNATURE
        signature = servable.signatures.get(name)
        if signature is None:
            raise invalid(f"No signature was found with the name: {name}")
        kind = "classification" if method == CLASSIFY else "regression"
        if self._check_methods and signature.method_name != method:
            raise invalid(
                f"Expected {kind} signature method_name to be {method}. "
                f"Was: {signature.method_name}"
            )
        if len(signature.inputs) != 1:
            raise invalid("Expected one input Tensor.")
        _check_output_count(signature, method)
        if "inputs" not in signature.inputs:
            raise invalid(f"No {kind} inputs found in SignatureDef: {_listed(signature.inputs)}")
        outputs = _classify_outputs if method == CLASSIFY else _regress_outputs
        return signature.inputs["inputs"].name, outputs(signature), signature

    def _on_examples(
        self,
        servable: Servable,
        api: str,
        examples: Sequence[bytes],
        feeds: Iterable[str],
        fetches: Sequence[str],
        deadline: float,
    ) -> dict[str, np.ndarray]:
        if not examples:
            raise invalid("Input is empty.")
        self._metrics.example_count.add(servable.name, by=len(examples))
        self._metrics.example_counts.observe(servable.name, value=len(examples))
        serialized = as_strings(examples)
        inputs = dict.fromkeys(feeds, serialized)
        values = self._run(servable, api, inputs, tuple(fetches), deadline)
        return dict(zip(fetches, values, strict=True))


def as_strings(values: Sequence[bytes]) -> np.ndarray:
    """A string tensor [values]. Not `np.array`: its bytes type cuts trailing zero bytes."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def type_name(dtype: tf.DType) -> str:
    """TensorFlow's C++ name of a type, which its messages use."""
    return {tf.float16: "half", tf.float32: "float", tf.float64: "double"}.get(dtype, dtype.name)


def signature_inputs(servable: Servable, name: str) -> Mapping[str, Any]:
    """TensorInfos of a signature's inputs, with the errors that REST has for it."""
    signature = servable.signatures.get(name or DEFAULT_SIGNATURE)
    if signature is None:
        raise invalid(
            f'Serving signature name: "{name or DEFAULT_SIGNATURE}" not found in signature def'
        )
    if not signature.inputs:
        raise invalid(f"Failed to get input map for signature: {name or 'DEFAULT'}")
    return signature.inputs


def _with_defaults(signature: Any, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inputs and, for those that were not sent, what the signature has for them."""
    sent, required = set(inputs), set(signature.inputs)
    missing = required - sent
    too_few = len(sent) < len(required) and not signature.defaults
    if len(sent) > len(required) or too_few:
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(required)} "
            f"len({_listed(sent)}) != len({_listed(required)}). "
            f"Sent extra: {_listed(sent - required)}. Missing but required: {_listed(missing)}."
        )
    if sent - required:
        raise invalid(
            f"input tensor alias not found in signature: {min(sent - required)}. "
            f"Inputs expected to be in the set {_listed(required)}."
        )
    without = missing - set(signature.defaults)
    if without:
        raise invalid(f"Signature input alias {min(without)} not found in inputs or defaults.")
    return {**inputs, **{alias: tf.make_ndarray(signature.defaults[alias]) for alias in missing}}


def _check_type(alias: str, value: np.ndarray, info: Any) -> None:
    dtype = tf.as_dtype(value.dtype)
    expected = tf.as_dtype(info.dtype)
    if dtype != expected:
        raise invalid(
            f"input {alias}: Expects arg[0] to be {type_name(expected)} but {type_name(dtype)} is "
            "provided"
        )


def _outputs(signature: Any, output_filter: Sequence[str]) -> Sequence[str]:
    aliases_seen = set()
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in "
                f"the set {_listed(signature.outputs)}."
            )
        if alias in aliases_seen:
            raise invalid(f"duplicate output tensor alias: {alias}")
        aliases_seen.add(alias)
    return output_filter or sorted(signature.outputs)


def _check_output_count(signature: Any, method: str) -> None:
    count = len(signature.outputs)
    if method == CLASSIFY and count not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {count}")
    if method == REGRESS and count != 1:
        raise invalid("Expected one output Tensor.")


def _classify_outputs(signature: Any) -> list[str]:
    outputs = [signature.outputs[key].name for key in ("classes", "scores")
               if key in signature.outputs]  # fmt: skip
    if not outputs:
        raise invalid(
            'Expected classification signature outputs to contain at least one of "classes" or '
            f'"scores". Signature has: {_listed(signature.outputs)}'
        )
    return outputs


def _regress_outputs(signature: Any) -> list[str]:
    if "outputs" not in signature.outputs:
        raise invalid(f"No regression outputs found in SignatureDef: {_listed(signature.outputs)}")
    return [signature.outputs["outputs"].name]


def _classifications(
    signature: Any, values: Mapping[str, np.ndarray], examples: int
) -> Classifications:
    outputs: dict[str, np.ndarray | None] = {}
    for key, dtype in (("classes", tf.string), ("scores", tf.float32)):
        outputs[key] = None
        if key in signature.outputs:
            value = outputs[key] = values[signature.outputs[key].name]
            _check_result(key, value, dtype, (examples, value.shape[1] if value.ndim > 1 else 0))
    labels, scores = outputs["classes"], outputs["scores"]
    if labels is not None and scores is not None and labels.shape != scores.shape:
        raise invalid(
            f"Tensors class and score should match in dim_size(1). Got {labels.shape[1]} vs. "
            f"{scores.shape[1]}"
        )
    return Classifications(labels, scores)


def _regressions(signature: Any, values: Mapping[str, np.ndarray], examples: int) -> np.ndarray:
    value = values[signature.outputs["outputs"].name]
    if value.ndim == 2 and value.shape[1] == 1:
        value = value[:, 0]
    _check_result("outputs", value, tf.float32, (examples,))
    return value


def _check_result(key: str, value: np.ndarray, dtype: tf.DType, shape: Iterable[int]) -> None:
    if tf.as_dtype(value.dtype) != dtype:
        raise invalid(
            f"Expected {key} Tensor of DT_{type_name(dtype).upper()}. "
            f"Got: DT_{type_name(tf.as_dtype(value.dtype)).upper()}"
        )
    if value.shape != tuple(shape):
        raise invalid(f"Expected {key} Tensor of shape {list(shape)}. Got: {list(value.shape)}")


def _listed(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
