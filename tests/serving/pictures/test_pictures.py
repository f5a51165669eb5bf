"""Annotated frames, films and curves, by what they show."""

import dataclasses
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from e2e import browser
from made_media import video_of_sizes
from serving_support.chrome import Chrome

from preprocessing.faces.face_selection import FaceCounts
from preprocessing.media.decoder import Decoder
from serving.model.verdict import DecisionRule, Verdict, judge_logits
from serving.model.windows import CropPositions, ManipulatedParts, Segment, Window
from serving.pictures.annotated_file import annotate_file
from serving.pictures.annotation import HIGH, LOW, annotate, colour_of, score_bar
from serving.pictures.film import LONGEST_SIDE, FilmWriter
from serving.pictures.heat_map import heat_map
from serving.pictures.marks import JudgedFace, Mark, Marks
from serving.pictures.score_curve import score_curve


def frame(height: int = 240, width: int = 320, grey: int = 90) -> np.ndarray:
    return np.full((height, width, 3), grey, np.uint8)


class TestAnnotation:
    def test_the_frame_is_left_alone(self):
        pixels = frame()
        annotate(pixels, [Mark(0, np.array([50.0, 60.0, 150.0, 180.0]), 0.9)], "fake")
        assert (pixels == 90).all()

    def test_a_box_has_the_colour_of_its_score_where_the_face_is(self):
        pixels = frame()
        drawn = annotate(pixels, [Mark(0, np.array([50.0, 60.0, 150.0, 180.0]), 1.0)], "fake")
        picture = drawn[drawn.shape[0] - 240 :]
        assert tuple(picture[120, 50]) == HIGH
        assert tuple(picture[180, 100]) == HIGH
        assert tuple(picture[120, 100]) == (90, 90, 90)

    def test_a_heading_stands_above(self):
        drawn = annotate(frame(), [], "uncertain, P(fake) 0.500")
        heading = drawn[: drawn.shape[0] - 240]
        assert (heading == 255).all(axis=2).mean() > 0.5
        assert (heading < 100).any()

    def test_a_long_heading_fits_a_narrow_frame(self):
        text = "not a verdict: this model was trained on made-up pictures, P(fake) 0.123"
        drawn = annotate(frame(width=160), [], text)
        heading = drawn[: drawn.shape[0] - 240]
        assert (heading[:, -1] == 255).all()
        # Letters of all of the text: the last tenth of the width is not empty.
        assert (heading[:, 140:158] < 160).any()

    @pytest.mark.parametrize(
        "box", [(-30.0, -40.0, 60.0, 50.0), (280.0, 200.0, 400.0, 300.0), (0.0, 0.0, 320.0, 240.0)]
    )
    def test_boxes_beyond_the_frame(self, box):
        drawn = annotate(frame(), [Mark(0, np.array(box), 0.5)], "uncertain")
        assert drawn.shape[1] == 320
        assert (drawn[drawn.shape[0] - 240 :] != 90).any()

    def test_the_bar_shows_scores_over_time_and_where_the_frame_is(self):
        faces = [
            JudgedFace(number, 0, np.zeros(4), 0.0 if number < 50 else 1.0, b"")
            for number in range(10, 100)
        ]
        bar = score_bar(Marks(faces, 1.0), 100, 200)
        assert bar.shape == (1, 200, 3)
        assert tuple(bar[0, 5]) == (200, 200, 200)
        assert tuple(bar[0, 60]) == LOW
        assert tuple(bar[0, 160]) == HIGH
        drawn = annotate(frame(width=200), [], "fake", bar, position=0.75)
        strip = drawn[-1]
        assert tuple(strip[149]) == (0, 0, 0)
        assert tuple(strip[60]) == LOW

    def test_of_several_faces_the_bar_shows_the_most_suspicious(self):
        faces = [
            JudgedFace(0, track, np.zeros(4), score, b"") for track, score in ((0, 0.2), (1, 0.8))
        ]
        assert tuple(score_bar(Marks(faces, 1.0), 1, 1)[0, 0]) == colour_of(0.8)


class TestHeatMap:
    def crop(self) -> bytes:
        return cv2.imencode(".png", frame(60, 90, 128))[1].tobytes()

    def test_places_have_the_colours_of_their_scores(self):
        drawn = heat_map(self.crop(), np.array([[40.0, 0.0, -40.0]]))
        assert drawn.shape == (60, 90, 3)
        red, blue = drawn[30, 0].astype(int), drawn[30, -1].astype(int)
        expected = np.rint(0.4 * 128 + 0.6 * np.array([HIGH, LOW]))
        assert red == pytest.approx(expected[0], abs=1)
        assert blue == pytest.approx(expected[1], abs=1)

    def test_undecided_places_have_no_colour(self):
        assert (heat_map(self.crop(), np.zeros((5, 5))) == 128).all()

    def test_rows_come_from_the_top(self):
        drawn = heat_map(self.crop(), np.array([[40.0], [-40.0]]))
        assert drawn[0, 45, 0] > drawn[-1, 45, 0]


class TestFilm:
    def write(self, path: Path, frames: int = 12, step: int = 40, **shape) -> Path:
        with FilmWriter(path) as film:
            for number in range(frames):
                film.add(frame(grey=20 * number % 256, **shape), step * number)
        return path

    def test_h264_in_order_with_the_times_given(self, tmp_path):
        path = self.write(tmp_path / "film.mp4", step=125)
        with av.open(str(path)) as film:
            (stream,) = film.streams
            assert (stream.codec.name, stream.pix_fmt) == ("h264", "yuv420p")
            frames = list(film.decode(stream))
        assert [round(1000 * shown.time) for shown in frames] == [125 * n for n in range(12)]
        levels = [float(shown.to_ndarray(format="rgb24").mean()) for shown in frames]
        assert levels == pytest.approx([20 * n for n in range(12)], abs=6)

    def test_the_index_comes_first_so_that_browsers_play_at_once(self, tmp_path):
        data = self.write(tmp_path / "film.mp4").read_bytes()
        assert 0 < data.index(b"moov") < data.index(b"mdat")

    @pytest.mark.parametrize(
        ("shape", "expected"),
        [
            ((241, 321), (240, 320)),
            ((1080, 1920), (720, LONGEST_SIDE)),
            ((4000, 100), (LONGEST_SIDE, 32)),
            ((1, 1), (2, 2)),
        ],
    )
    def test_sides_are_even_and_not_longer_than_needed(self, tmp_path, shape, expected):
        path = self.write(tmp_path / "film.mp4", 2, height=shape[0], width=shape[1])
        with av.open(str(path)) as film:
            stream = film.streams.video[0]
            assert (stream.height, stream.width) == expected

    def test_times_that_do_not_rise_are_put_in_order(self, tmp_path):
        with FilmWriter(tmp_path / "film.mp4") as film:
            for milliseconds in (0, 0, 0, 80):
                film.add(frame(), milliseconds)
        with av.open(str(tmp_path / "film.mp4")) as film:
            times = [round(1000 * shown.time) for shown in film.decode(video=0)]
        assert times == [0, 1, 2, 80]

    @pytest.mark.integration
    def test_a_browser_plays_it(self, tmp_path):
        if (found := browser.find()) is None:
            pytest.skip("no Chromium or Chrome here: apt-get install chromium")
        self.write(tmp_path / "film.mp4", 25, 40)
        page = tmp_path / "page.html"
        page.write_text('<main><video id="film" muted src="film.mp4"></video></main>')
        with Chrome(found) as chrome:
            chrome.open(page.as_uri(), 400)
            shown = chrome.run(
                "new Promise((done, fail) => { const film = document.getElementById('film');"
                " film.onerror = () => fail(film.error.message);"
                " film.onended = () => done([film.videoWidth, film.videoHeight, film.duration]);"
                " film.play(); })"
            )
        assert shown == pytest.approx([320, 240, 1.0], abs=0.05)


class TestAnnotatedFile:
    def test_a_film_whose_frames_change_size(self, tmp_path):
        """It has the size of its middle, and boxes stay on the faces."""
        shapes = [(120, 160)] * 3 + [(240, 320)] * 6 + [(120, 120)] * 3
        path = video_of_sizes(tmp_path / "sizes.avi", [frame(*shape) for shape in shapes])
        box = np.array([40.0, 40.0, 90.0, 90.0])
        scales = [2.0 if height == 240 else 1.0 for height, _ in shapes]
        faces = [
            JudgedFace(number, 0, scale * box, 1.0, b"") for number, scale in enumerate(scales)
        ]
        with Decoder() as decoder:
            written = annotate_file(decoder, path, tmp_path, faces, len(faces), "fake")
        with av.open(str(written)) as film:
            shown = [
                picture.to_ndarray(format="rgb24").astype(int) for picture in film.decode(video=0)
            ]
        assert len(shown) == len(shapes)
        assert {picture.shape for picture in shown} == {shown[5].shape}
        assert shown[5].shape[1] == 320
        # Without the bar, in which the place of the frame moves.
        first, middle, last = (shown[number][:-12] for number in (1, 5, 11))
        assert np.abs(first - middle).mean() < 2
        # A square is in the middle of black, 40 pixels to the right of where it would be in a
        # frame without.
        below = slice(-200, None)
        assert last[below, :36].max() < 40
        assert last[below, -36:].max() < 40
        assert np.abs(last[below, 44:276] - middle[below, 4:236]).mean() < 3


def verdict_of(scores: list[float], times: list[float], tracks: list[int]) -> Verdict:
    logits = np.log(np.array(scores) / (1 - np.array(scores)))
    positions = CropPositions.of(tracks, list(range(len(scores))), times)
    counts = FaceCounts(frames=len(scores), crops=len(scores))
    return judge_logits("clip.mp4", logits, positions, counts, None, DecisionRule())


class TestCurve:
    def test_a_picture_of_the_scores(self):
        verdict = verdict_of([0.1, 0.9, 0.2, 0.3], [40.0, 80.0, 120.0, 160.0], [0, 0, 0, 0])
        picture = cv2.imdecode(np.frombuffer(score_curve(verdict), np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape[1] == 1200
        assert (picture != 255).any()

    def test_segments_are_shaded(self):
        verdict = verdict_of([0.1, 0.9, 0.9, 0.1], [40.0, 80.0, 120.0, 160.0], [0, 0, 0, 0])
        segment = Segment(0, 0.06, 0.14, 1, 2, 0.9, 2.2)
        shaded = dataclasses.replace(verdict, parts=ManipulatedParts(Window(2.2, 0.01), (segment,)))
        assert score_curve(verdict) != score_curve(shaded)
        # Not of a model of made data, whose segments say nothing.
        made = DecisionRule(made_data=True)
        of_made_data = [
            dataclasses.replace(shown, decision_rule=made) for shown in (verdict, shaded)
        ]
        assert score_curve(of_made_data[0]) == score_curve(of_made_data[1])

    def test_files_without_times(self):
        verdict = verdict_of([0.1, 0.9], [0.0, 0.0], [0, 0])
        assert verdict.tracks[0].timeline[0].seconds is None
        assert score_curve(verdict).startswith(b"\x89PNG")
