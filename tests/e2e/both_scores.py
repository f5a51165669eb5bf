"""Scores of clips by a pushed model, asked in this process and of a server, as JSON.

    python both_scores.py FOLDER_OF_VERSIONS CLIP...

Run by test_newest_tfx.py in either environment.
"""

import json
import sys
from pathlib import Path

from preprocessing.support.quiet import load_tensorflow, quiet
from serving import clients
from serving.model.predictor import Predictor
from serving.server.process import ServerProcess


def main(base: str, files: list[str]) -> dict[str, dict]:
    load_tensorflow()
    scores = {}
    with quiet():
        predictor = Predictor(base)
        with (
            ServerProcess(["--model-base", base]) as server,
            clients.connect(f"grpc://{server.grpc}", Path(base).name) as scorer,
        ):
            for file in files:
                crops, _ = predictor._cropper.crops(file)
                jpegs = [crop.jpeg for crop in crops]
                scores[Path(file).name] = {
                    "score": predictor.predict(file).score,
                    "logits": predictor.outputs(jpegs).logits.tolist(),
                    "served": scorer.score(jpegs).logits.tolist(),
                }
        predictor.close()
    return scores


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2:])))
