"""Every layout passes the checks of layouts, and each has its example here."""

import dataclasses
import json

import pytest
from cases.layout_case import LayoutCase

from preprocessing.datasets import layout
from preprocessing.datasets.clip import Clip, Listing, media
from preprocessing.datasets.layout import Layout, layouts
from preprocessing.datasets.layouts import celeb_df


class TestCelebDf(LayoutCase):
    layout = "celeb_df"
    reals = ("Celeb-real/id0_0000.mp4", "Celeb-real/id1_0003.mp4", "YouTube-real/00170.mp4")
    fakes = ("Celeb-synthesis/id0_id1_0000.mp4",)
    lists = {celeb_df.TEST_LIST: "1 YouTube-real/00170.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n"}


class TestFaceForensics(LayoutCase):
    layout = "faceforensics"
    reals = (
        "original_sequences/youtube/c23/videos/071.mp4",
        "original_sequences/youtube/c23/videos/054.mp4",
        "original_sequences/actors/c23/videos/01__kitchen_pan.mp4",
    )
    fakes = (
        "manipulated_sequences/Deepfakes/c23/videos/071_054.mp4",
        "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__kitchen_pan__A1B2C3D4.mp4",
    )
    lists = {
        "splits/train.json": json.dumps([["071", "054"]]),
        "splits/val.json": "[]",
        "splits/test.json": "[]",
    }


class TestDfdc(LayoutCase):
    layout = "dfdc"
    reals = ("dfdc_train_part_0/r.mp4", "dfdc_train_part_2/s.mp4")
    fakes = ("dfdc_train_part_0/a.mp4",)
    lists = {
        "dfdc_train_part_0/metadata.json": json.dumps(
            {
                "a.mp4": {"label": "FAKE", "split": "train", "original": "r.mp4"},
                "r.mp4": {"label": "REAL", "split": "train", "original": None},
            }
        ),
        "dfdc_train_part_2/metadata.json": json.dumps({"s.mp4": {"label": "REAL"}}),
    }


class TestDfdcPreview(LayoutCase):
    layout = "dfdc"
    reals = ("original_videos/1/1_A_001.mp4",)
    fakes = ("method_A/1_2/1_2_B_001.mp4",)
    lists = {
        "dataset.json": json.dumps(
            {
                "original_videos/1/1_A_001.mp4": {
                    **{"label": "real", "set": "train", "target_id": "1", "swapped_id": None},
                    "augmentations": [],
                },
                "method_A/1_2/1_2_B_001.mp4": {
                    **{"label": "fake", "set": "test", "target_id": "1", "swapped_id": "2"},
                    "augmentations": [],
                },
            }
        )
    }


class TestFolder(LayoutCase):
    layout = "folder"
    reals = ("real/a.mp4", "real/deep/c.png")
    fakes = ("fake/b.mov",)


class TestList(LayoutCase):
    layout = "list"
    reals = ("some/a.mp4",)
    fakes = ("other/b.mp4",)
    lists = {"clips.csv": "path,label\nsome/a.mp4,real\nother/b.mp4,fake\n"}


class TestRegisteredElsewhere(LayoutCase):
    """What another project registers passes them too."""

    layout = "flat"
    reals, fakes = ("0_a.mp4",), ("1_b.mp4",)

    @pytest.fixture(autouse=True)
    def flat(self, monkeypatch):
        def list_flat(root):
            paths, problems = media(root, "", {".mp4"})
            clips = [Clip(path, int(path[0]), "flat", "any") for path in paths]
            return Listing.of("flat", clips, problems)

        layouts()
        monkeypatch.setattr(layout, "_registry", dict(layout._registry))
        layout.register(
            Layout(
                "flat",
                "files such as 0_name.mp4 and 1_name.mp4",
                lambda root: any(root.glob("[01]_*.mp4")),
                lambda root, within: False,
                list_flat,
            )
        )


def test_a_name_is_given_once():
    folder = layouts()["folder"]
    layout.register(folder)
    with pytest.raises(ValueError, match="two layouts have the name 'folder'"):
        layout.register(dataclasses.replace(folder, order=1))


def test_every_layout_has_its_case():
    cases = {case.layout for case in LayoutCase.__subclasses__()} - {"flat"}
    assert cases == set(layouts())
