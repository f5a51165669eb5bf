"""Windows over the crops of tracks, and the segments that follow from them."""

import numpy as np
import pytest

from serving.model.aggregation import probability
from serving.model.windows import (
    SHARE,
    CropPositions,
    WindowClips,
    _largest_sum,
    find_segments,
    least_crops,
    window_clips,
    window_maxima,
)


def val_windows(values=None, share=SHARE) -> WindowClips:
    """Validation's windows: 100 real clips of as many persons."""
    values = np.linspace(-4.0, 1.0, 100) if values is None else np.asarray(values)
    section = window_clips(values, np.zeros(len(values)), np.arange(len(values)))
    return WindowClips.from_dict({**section, "share": share})


def positions(tracks, frames, seconds=None) -> CropPositions:
    return CropPositions(np.array(tracks), np.array(frames), seconds)


def timed(count, fps=10.0) -> CropPositions:
    """One track with a face in each of so many frames."""
    frames = np.arange(count)
    return positions(np.zeros(count), frames, frames / fps)


def test_window_maxima_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 5, 200)
    tracks = rng.integers(0, 3, 200)
    logits = rng.normal(size=200)
    for share in (0.01, 0.2, 0.5, 1.0):
        expected = []
        for clip in range(5):
            means = []
            for track in range(3):
                values = logits[(clips == clip) & (tracks == track)]
                length = max(1, round(share * len(values) + 1e-9))
                means += [
                    values[start : start + length].mean()
                    for start in range(len(values) - length + 1)
                ]
            expected.append(max(means))
        np.testing.assert_allclose(window_maxima(logits, clips, tracks, share), expected)


def test_the_whole_track_as_a_window_is_the_clip_score():
    logits, tracks = np.array([1.0, 3.0, -1.0, 0.0]), np.array([0, 0, 1, 1])
    assert window_maxima(logits, np.zeros(4), tracks, 1.0) == pytest.approx([2.0])


def test_only_real_clips_are_kept():
    section = window_clips(
        np.array([1.0, 2.0, 3.0]), np.array([0, 1, 0]), np.array(["a", "b", "a"])
    )
    clips = WindowClips.from_dict(section)
    assert clips.real.values == (1.0, 3.0)
    assert clips.real.cluster_sizes == (2, 2)
    assert clips.share == SHARE


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_at_most_the_rate_of_real_clips_has_a_segment(rate):
    """New clips like those of validation, over many calibrations."""
    rng = np.random.default_rng(1)

    def draw(count):
        # The crops of a clip resemble each other, as those of a person do.
        return rng.normal(size=(count, 1)) + rng.normal(size=(count, 20))

    shares = []
    for _ in range(60):
        clips, tracks = np.repeat(np.arange(40), 20), np.zeros(800)
        known = val_windows(window_maxima(draw(40).ravel(), clips, tracks))
        found = [
            find_segments(known, logits, timed(20), rate).segments != () for logits in draw(40)
        ]
        shares.append(np.mean(found))
    error = np.std(shares, ddof=1) / np.sqrt(len(shares))
    assert rate / 3 < np.mean(shares) <= rate + 2 * error


def films(rng, count, frames):
    """Logits of real clips [count, frames]: a person each, in five poses one after another."""
    poses = np.repeat(rng.normal(size=(count, 5)), -(-frames // 5), axis=1)[:, :frames]
    return 0.3 * rng.normal(size=(count, 1)) + poses + 0.1 * rng.normal(size=(count, frames))


@pytest.mark.parametrize(("crops", "frames"), [(1, 32), (2, 20), (5, 32), (32, 32)])
def test_the_rate_holds_for_films_whatever_crops_validation_has(crops, frames):
    """The largest of many windows is not ranked among clips that have but one or two."""
    rng, rate, least = np.random.default_rng(3), 0.05, least_crops(32)
    shares = []
    for _ in range(60):
        # One crop of each pose, of as many as there are.
        val = films(rng, 40, 5)[:, :crops] if crops < 5 else films(rng, 40, crops)
        clips = np.repeat(np.arange(40), crops)
        maxima = window_maxima(val.ravel(), clips, np.zeros(len(clips)), least=least)
        section = window_clips(maxima, np.zeros(40), np.arange(40), least)
        if section is None:
            shares.append(0.0)
            continue
        known = WindowClips.from_dict(section)
        found = [
            find_segments(known, logits, timed(frames), rate) for logits in films(rng, 40, frames)
        ]
        shares.append(np.mean([part.segments != () for part in found]))
    error = np.std(shares, ddof=1) / np.sqrt(len(shares))
    assert np.mean(shares) <= rate + 2 * error
    assert (np.mean(shares) > 0) == (crops >= 5)


def test_tracks_with_few_crops_have_no_windows():
    assert [least_crops(frames) for frames in (1, 4, 5, 32)] == [1, 4, 5, 5]
    logits, tracks = np.array([9.0, 9.0, 1.0, 2.0, 3.0]), np.array([0, 0, 1, 1, 1])
    clips = np.array([0, 0, 0, 0, 0])
    assert window_maxima(logits, clips, tracks, least=3) == pytest.approx([3.0])
    assert np.isnan(window_maxima(logits, clips, tracks, least=4)).all()
    section = window_clips(np.array([1.0, np.nan]), np.zeros(2), np.array(["a", "a"]), 5)
    clips = WindowClips.from_dict(section)
    assert (clips.real.values, clips.real.cluster_sizes, clips.least_crops) == ((1.0,), (1,), 5)
    assert window_clips(np.full(2, np.nan), np.zeros(2), np.arange(2), 5) is None

    known = WindowClips.from_dict(window_clips(np.zeros(30), np.zeros(30), np.arange(30), 5))
    assert "; tracks of fewer than 5 faces have none" in known.text(0.05)
    assert find_segments(known, np.full(4, 9.0), timed(4), 0.05) is None
    both = positions([0] * 4 + [1] * 5, [*range(4), *range(5)])
    (segment,) = find_segments(known, np.full(9, 9.0), both, 0.05).segments
    assert segment.track == 1


def test_a_segment_is_where_the_logits_are_high():
    logits = np.array([-3.0] * 10 + [4.0, 2.0, 4.0, 3.0, 5.0, 4.0] + [-2.0] * 4)
    found = find_segments(val_windows(), logits, timed(20), 0.05)
    (segment,) = found.segments
    assert (segment.first_frame, segment.last_frame) == (10, 15)
    # Up to halfway to the neighbours.
    assert (segment.start, segment.end) == pytest.approx((0.95, 1.55))
    assert segment.logit == pytest.approx(logits[10:16].mean())
    assert segment.score == pytest.approx(float(probability(segment.logit)))
    assert found.window.logit == pytest.approx(4.0)
    assert found.window.p_value == pytest.approx(1 / 101)


def test_segments_apart_and_of_two_tracks():
    one = np.array([4.0] * 4 + [-3.0] * 8 + [5.0] * 4 + [-3.0] * 4)
    other = np.array([-3.0] * 6 + [2.0] * 4)
    tracks = np.array([1] * 20 + [0] * 10)
    frames = np.concatenate([np.arange(20), np.arange(10)])
    found = find_segments(
        val_windows(), np.concatenate([one, other]), positions(tracks, frames, frames / 5.0), 0.05
    )
    assert [(part.track, part.first_frame, part.last_frame) for part in found.segments] == [
        (0, 6, 9), (1, 0, 3), (1, 12, 15),
    ]  # fmt: skip
    assert found.segments[1].start == 0.0
    assert found.segments[2].end == pytest.approx(3.1)


def test_a_forged_clip_is_one_segment():
    (segment,) = find_segments(val_windows(), np.full(8, 3.0), timed(8), 0.05).segments
    assert (segment.first_frame, segment.last_frame) == (0, 7)
    assert (segment.start, segment.end) == pytest.approx((0.0, 0.75))


def test_pictures_have_no_times_and_one_picture_has_no_parts():
    logits = np.array([-3.0, 4.0, 4.0, -3.0])
    (segment,) = find_segments(
        val_windows(), logits, positions([0] * 4, [3, 5, 7, 9]), 0.05
    ).segments
    assert (segment.start, segment.end) == (None, None)
    assert (segment.first_frame, segment.last_frame) == (5, 7)
    alone = find_segments(val_windows(), np.array([9.0, 9.0]), positions([0, 1], [0, 0]), 0.05)
    assert alone.segments == ()
    assert alone.window.logit == 9.0


def test_frames_that_are_all_shown_at_one_time_have_a_segment_without_length():
    same = positions([0] * 4, [0, 1, 2, 3], np.full(4, 0.5))
    (segment,) = find_segments(val_windows(), np.full(4, 9.0), same, 0.05).segments
    assert (segment.start, segment.end) == (0.5, 0.5)


def test_too_few_real_clips_show_no_segment():
    few = val_windows(np.zeros(18))
    assert find_segments(few, np.full(8, 99.0), timed(8), 0.05).segments == ()
    assert "18 clusters of real clips cannot show 5.0%" in few.text(0.05)
    assert "18 clusters of real clips cannot show 0.04%" in few.text(0.0004)
    assert "which at most 5.0% of real clips have" in val_windows().text(0.05)
    saturated = val_windows(np.full(99, 9.0)).text(0.015)
    assert "whose mean is above 1.000 (logit 9), which at most 1.5% of real clips" in saturated
    enough = val_windows(np.zeros(19))
    assert len(find_segments(enough, np.full(8, 99.0), timed(8), 0.05).segments) == 1


def test_a_gap_without_faces_does_not_lengthen_a_segment():
    frames = np.array([0, 1, 2, 3, 50, 51, 52, 53])
    logits = np.array([-3.0, -3.0, 4.0, 4.0, -3.0, -3.0, -3.0, -3.0])
    (segment,) = find_segments(
        val_windows(), logits, positions([0] * 8, frames, frames / 10.0), 0.05
    ).segments
    assert (segment.start, segment.end) == pytest.approx((0.15, 0.35))


def test_the_largest_sum_is_that_of_all_intervals():
    rng = np.random.default_rng(2)
    for _ in range(200):
        values = rng.normal(size=rng.integers(1, 9))
        low, high = _largest_sum(values)
        every = [
            values[start : end + 1].sum()
            for start in range(len(values))
            for end in range(start, len(values))
        ]
        assert values[low : high + 1].sum() == pytest.approx(max(every))


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_that_cannot_be_is_refused(share):
    with pytest.raises(ValueError, match="share"):
        val_windows(share=share)


def test_a_track_of_no_crops_is_refused():
    with pytest.raises(ValueError, match="least_crops: 0 is below 1"):
        WindowClips.from_dict({**val_windows().to_dict(), "least_crops": 0})
