import numpy as np
from made_media import portrait, write_image

from preprocessing.faces.crop import square_crop
from preprocessing.faces.crop_geometry import Geometry, square_of
from preprocessing.faces.crop_meter import CropMeter
from preprocessing.faces.geometry_survey import survey, survey_table

WANTED = Geometry(0.4, 0.5, 0.3)


def test_sets_are_measured_apart_and_the_one_that_differs_is_named(tmp_path):
    (face,) = CropMeter().faces([portrait()[:360, 60:420]])
    points = face.landmarks + np.array([60, 0])
    files = {}
    for name, eye_distance in (("tight", 0.4), ("wide", 0.26)):
        files[name] = [f"{name}{n}.png" for n in range(3)]
        crop = square_crop(portrait(), square_of(points, eye_distance, 0.35), 1.0, 300)
        for file in files[name]:
            write_image(tmp_path / file, crop)
    (tmp_path / "wide1.png").write_bytes(b"no picture")
    measured = survey(tmp_path, files)
    assert {name: len(found) for name, found in measured.items()} == {"tight": 3, "wide": 2}
    lines = survey_table(measured, WANTED).splitlines()
    assert [line for line in lines if line.startswith("warning")] == lines[-1:]
    assert "wide is cut wider than the configuration wants, by a factor of 1.5" in lines[-1]


def test_a_set_without_a_face_is_named(tmp_path):
    write_image(tmp_path / "grey.png", np.full((80, 80, 3), 128, np.uint8))
    table = survey_table(survey(tmp_path, {"grey": ["grey.png"]}), WANTED)
    assert table.endswith("warning: no face was found in the crops of grey")


def test_large_sets_are_sampled(tmp_path):
    # Only those that are looked at have to be there.
    measured = survey(tmp_path, {"many": [f"{n}.png" for n in range(100_000)]})
    assert measured == {"many": []}
