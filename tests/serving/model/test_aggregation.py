import numpy as np
import pytest

from serving.model.aggregation import NonFiniteLogits, aggregate, probability


def test_track_is_the_mean_and_clip_the_highest_track():
    scores = aggregate(
        np.array([1.0, 3.0, -5.0, 0.5, -1.0]),
        np.array(["b", "b", "b", "a", "a"]),
        np.array([0, 0, 7, 2, 2]),
    )
    assert scores.clips.tolist() == ["a", "b"]
    assert scores.logits.tolist() == [-0.25, 2.0]
    assert scores.track_clips.tolist() == ["a", "b", "b"]
    assert scores.tracks.tolist() == [2, 0, 7]
    assert scores.track_logits.tolist() == [-0.25, 2.0, -5.0]


def test_order_of_crops_does_not_matter():
    rng = np.random.default_rng(0)
    logits, clips, tracks = rng.normal(size=50), rng.integers(0, 6, 50), rng.integers(0, 3, 50)
    order = rng.permutation(50)
    one, other = (
        aggregate(logits, clips, tracks),
        aggregate(logits[order], clips[order], tracks[order]),
    )
    np.testing.assert_allclose(one.logits, other.logits, atol=1e-12)
    for clip, logit in zip(one.clips, one.logits, strict=True):
        means = [
            logits[(clips == clip) & (tracks == track)].mean()
            for track in np.unique(tracks[clips == clip])
        ]
        assert logit == pytest.approx(max(means))


def test_equal_track_numbers_of_two_clips_are_two_tracks():
    scores = aggregate(np.array([1.0, -1.0]), np.array([b"a", b"b"]), np.array([0, 0]))
    assert scores.logits.tolist() == [1.0, -1.0]


def test_nothing_gives_nothing():
    scores = aggregate(np.empty(0), np.empty(0, "U1"), np.empty(0, int))
    assert scores.clips.shape == scores.logits.shape == scores.track_logits.shape == (0,)


@pytest.mark.parametrize(
    "shapes", [((2,), (1,), (2,)), ((2,), (2,), (1,)), ((1,), (2,), (2,)), ((2, 1),) * 3, ((),) * 3]
)
def test_unequal_lengths_are_refused(shapes):
    logits, clips, tracks = (np.zeros(shape, int) for shape in shapes)
    with pytest.raises(ValueError, match="must be one-dimensional") as caught:
        aggregate(logits, clips, tracks)
    assert str(caught.value) == (
        f"logits {shapes[0]}, clips {shapes[1]} and tracks {shapes[2]} must be one-dimensional and "
        "of equal length"
    )


def test_logits_become_float64_and_numbers_of_tracks_stay_whole():
    scores = aggregate(np.array([1, 2], np.int32), np.array([7, 7]), np.array([3, 3], np.int16))
    assert scores.logits.dtype == scores.track_logits.dtype == np.float64
    assert scores.tracks.dtype.kind == "i"
    assert (scores.clips.tolist(), scores.tracks.tolist(), scores.logits.tolist()) == (
        [7],
        [3],
        [1.5],
    )


def test_a_clip_whose_tracks_are_all_real_keeps_the_highest():
    scores = aggregate(np.array([-9.0, -4.0]), np.array(["a", "a"]), np.array([0, 1]))
    assert scores.logits.tolist() == [-4.0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused_with_the_clip(value):
    logits, clips = np.array([1.0, value, 2.0, value]), np.array([b"a", b"b.mp4", b"b.mp4", b"c"])
    with pytest.raises(NonFiniteLogits, match=r"2 of 4 logits .* in b.mp4$"):
        aggregate(logits, clips, np.zeros(4, int))


def test_an_evaluation_may_carry_them_on_and_no_other_clip_changes():
    logits, clips = np.array([1.0, np.nan, 9.0, -2.0]), np.array(["a", "b", "b", "c"])
    scores = aggregate(logits, clips, np.array([0, 0, 1, 0]), allow_non_finite=True)
    # The finite track of `b` is higher, and still the clip has no logit.
    np.testing.assert_array_equal(scores.logits, [1.0, np.nan, -2.0])
    np.testing.assert_array_equal(scores.track_logits, [1.0, np.nan, 9.0, -2.0])


def test_probability_neither_overflows_nor_turns():
    with np.errstate(all="raise"):
        values = probability(np.array([-1e4, -1.0, 0.0, 1.0, 1e4]))
    assert float(probability(0.0)) == 0.5
    assert probability(np.float32(1)).dtype == np.float64
    assert probability([[1, 2, 3]]).shape == (1, 3)
    np.testing.assert_allclose(values, [0, 1 / (1 + np.e), 0.5, 1 / (1 + np.exp(-1)), 1])


@pytest.mark.parametrize(
    ("clips", "name"), [(["a", "b"], "b"), ([b"a", b"\xff"], "\ufffd"), ([1, 2], "2")]
)
def test_a_refused_clip_is_named_as_text(clips, name):
    with pytest.raises(
        NonFiniteLogits, match=f"^1 of 2 logits are .*, the first of them in {name}$"
    ):
        aggregate(np.array([0.0, np.nan]), np.array(clips), np.array([0, 0]))
