"""TFX's InfraValidator as an option: the candidate in TensorFlow Serving's own image.

With Docker only: its way over Kubernetes works inside Kubeflow Pipelines alone, for which TFX's
compiler refuses the component (tfx/orchestration/kubeflow/v2/step_builder.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.serving_check.config import ServingConfig
from preprocessing.support.errors import UsageError

if TYPE_CHECKING:
    from tfx import types
    from tfx.components.infra_validator.component import InfraValidator

# Requests, each of one example.
_EXAMPLES = 4


def check_platform(serving: ServingConfig, kubeflow: bool) -> None:
    """Refuses what could only end in "not blessed", which blocks the push without a word.

    Args:
      serving: the section of the configuration.
      kubeflow: whether the pipeline is compiled for Kubeflow; else it runs here.

    Raises:
      UsageError: InfraValidator is asked for, and no Docker daemon answers, or in Kubeflow.
    """
    if serving.infra_validator == "none":
        return
    if kubeflow:
        raise UsageError(
            "serving.infra_validator: TFX does not compile InfraValidator for Kubeflow Pipelines "
            "2; set it to none (ServingCheck runs there)"
        )
    _ask_docker()


def _ask_docker() -> None:
    import docker

    try:
        # As InfraValidator makes its client: DOCKER_HOST is not read.
        docker.DockerClient(timeout=10).ping()
    except Exception as error:  # docker-py passes errors of requests and urllib3 on as they are.
        raise UsageError(
            "serving.infra_validator is docker, but no Docker daemon answers (`docker info` says "
            "more); start it, or set serving.infra_validator to none"
        ) from error


def make_infra_validator(
    serving: ServingConfig, model: types.BaseChannel, examples: types.BaseChannel
) -> InfraValidator:
    """The node that loads the candidate in `tensorflow/serving` and sends it crops of test."""
    from tfx.components.infra_validator.component import InfraValidator
    from tfx.proto import infra_validator_pb2 as proto

    return InfraValidator(
        model=model,
        examples=examples,
        serving_spec=proto.ServingSpec(
            tensorflow_serving=proto.TensorFlowServing(tags=[serving.infra_validator_tag]),
            local_docker=proto.LocalDockerConfig(),
        ),
        request_spec=proto.RequestSpec(
            # The one scoring signature that takes records, as InfraValidator sends them.
            tensorflow_serving=proto.TensorFlowServingRequestSpec(
                signature_names=["serving_examples"]
            ),
            split_name="test",
            num_examples=_EXAMPLES,
        ),
    )
