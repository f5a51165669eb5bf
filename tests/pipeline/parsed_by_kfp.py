"""Parses compiled packages and jobs as the protocol buffers of kfp-kubernetes and its kfp.

    python parsed_by_kfp.py FILE...

Strict: a key that they do not know, or a value of another type, ends it with an error.
"""

import json
import sys
from pathlib import Path

import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2


def _parse(path: Path) -> None:
    if path.suffix == ".json":
        json_format.ParseDict(json.loads(path.read_text()), pipeline_spec_pb2.PipelineJob())
        return
    spec, *platforms = yaml.safe_load_all(path.read_text())
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    for platform in platforms:
        json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
        for pod in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
            # In PlatformSpec a pod is a Struct, which takes any key.
            config = kubernetes_executor_config_pb2.KubernetesExecutorConfig()
            json_format.ParseDict(pod, config)


for name in sys.argv[1:]:
    _parse(Path(name))
    print(name)
