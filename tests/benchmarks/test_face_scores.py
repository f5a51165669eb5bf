"""Scores of a model on face crops, as the benchmarks compute of them."""

import numpy as np

from benchmarks._face_scores import Scores


def test_interval_is_over_persons():
    rng = np.random.default_rng(3)
    persons, each = 12, 20
    labels = np.tile([0, 1], persons * each // 2)
    of_person = np.repeat(np.arange(persons), each)
    # What a person's clips share is as large as what tells fakes apart.
    logits = 1.5 * labels + rng.normal(0, 1.5, persons)[of_person] + rng.normal(0, 0.5, len(labels))
    clips = np.arange(len(labels))

    def width(clusters: np.ndarray) -> float:
        empty = np.empty(0)
        low, high = Scores(labels, logits, empty, clips, clusters, empty, empty).interval()
        return high - low

    names = np.array([f"celeb_df:id{person}" for person in of_person])
    assert width(names) > 1.5 * width(clips)
