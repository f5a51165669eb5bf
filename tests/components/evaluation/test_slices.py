import pytest

from components.evaluation.slices import face_size_of, methods_of, slices_of

METHODS = {"faceforensics": ["Deepfakes", "FaceSwap"]}
REAL = "original_sequences/youtube/c23/videos/000.mp4"


def slices(**changes):
    values = {
        "label": 1,
        "dataset": "faceforensics",
        "method": "Deepfakes",
        "clip_id": "manipulated_sequences/Deepfakes/c40/videos/000_001.mp4",
        "pair_id": REAL,
        "face_size": 100.0,
        "methods": METHODS,
    }
    return slices_of(**{**values, **changes})


def test_fake_belongs_to_its_method_and_to_the_source_it_was_made_from():
    assert slices() == {
        "dataset": ["faceforensics"],
        "method": ["Deepfakes"],
        "source": ["original_sequences/youtube"],
        "face_size": ["80 to 159 px"],
        "compression": ["c40"],
    }


def test_real_is_paired_with_every_method_of_its_dataset_only():
    real = slices(label=0, method="real", clip_id=REAL)
    assert real["method"] == ["Deepfakes", "FaceSwap"]
    assert real["source"] == ["original_sequences/youtube"]
    assert slices(label=0, method="real", clip_id=REAL, dataset="dfdc")["method"] == []


def test_fake_of_an_unknown_original_has_no_source():
    clip = "fake/a.mp4"
    assert slices(clip_id=clip, pair_id=clip)["source"] == []
    assert slices(label=0, clip_id="a.mp4", pair_id="a.mp4")["source"] == ["."]


@pytest.mark.parametrize(
    ("pixels", "name"),
    [(79.9, "under 80 px"), (80, "80 to 159 px"), (319, "160 to 319 px"), (320, "320 px and more")],
)
def test_face_sizes_have_no_gaps(pixels, name):
    assert face_size_of(pixels) == name


def test_methods_are_those_of_fakes():
    labelled = [(0, "a", "real"), (1, "a", "y"), (1, "a", "x"), (1, "a", "x"), (1, "b", "z")]
    assert methods_of(labelled) == {"a": ["x", "y"], "b": ["z"]}
