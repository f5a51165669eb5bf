"""What holds for every layout.

class TestMine(LayoutCase):
    layout = "mine"
    reals, fakes = ("0_a.mp4",), ("1_b.mp4",)
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest
from listings import make

from pipeline.config import load_config
from preprocessing.datasets.clip import FAKE, REAL
from preprocessing.datasets.layout import Layout, layouts
from preprocessing.datasets.listing import list_clips
from preprocessing.manifest.checks import left_out


class LayoutCase:
    """The checks of a registered layout, on a small folder that has it.

    Attributes:
      layout: its name, as in `data.layout`.
      reals: files of real clips, as paths below the folder.
      fakes: files of fake clips.
      lists: files that tell about clips, to their content.
    """

    layout: str
    reals: tuple[str, ...]
    fakes: tuple[str, ...]
    lists: dict[str, str] = {}

    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        """A folder of the layout; its clips are no media, since none may be opened."""
        root = make(tmp_path / "data", *self.reals, *self.fakes)
        for name, content in self.lists.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content, encoding="utf-8")
        return root

    @property
    def registered(self) -> Layout:
        return layouts()[self.layout]

    def test_it_is_recognised_and_no_other_comes_before_it(self, folder):
        assert self.registered.matches(folder)
        assert list_clips(folder).layout == self.layout
        assert load_config("folder", [f"data.layout={self.layout}"]).data.layout == self.layout

    def test_an_empty_folder_is_not_taken_for_it(self, tmp_path):
        assert not self.registered.matches(tmp_path)

    def test_each_clip_is_listed_once_with_its_label(self, folder):
        listing = self.registered.list_clips(folder)
        labels = [(clip.path, clip.label) for clip in listing.clips]
        expected = [(path, REAL) for path in self.reals] + [(path, FAKE) for path in self.fakes]
        assert sorted(labels) == sorted(expected)
        assert listing.layout == self.layout
        assert listing.problems == ()
        for clip in listing.clips:
            assert not PurePosixPath(clip.path).is_absolute()
            assert clip.dataset
            assert clip.method
            assert clip.official_split in ("", "train", "val", "test")

    def test_the_order_does_not_depend_on_the_file_system(self, folder, tmp_path):
        again = tmp_path / "again"
        for name in sorted([*self.reals, *self.fakes, *self.lists], reverse=True):
            (again / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(folder / name, again / name)
        listing, other = (self.registered.list_clips(root) for root in (folder, again))
        assert listing.clips == other.clips

    def test_sources_are_real_clips(self, folder):
        clips = self.registered.list_clips(folder).clips
        reals = {clip.path for clip in clips if clip.label == REAL}
        assert {clip.source for clip in clips if clip.label == FAKE} - {""} <= reals

    def test_files_that_are_no_clips_are_named(self, folder):
        """In the folder of a clip as well as above; hidden ones are nobody's."""
        beside = PurePosixPath(self.reals[0]).parent
        names = {str(beside / "half.mp4.part"), "half.mp4.part"}
        make(folder, *names, str(beside / ".DS_Store"))
        listing = self.registered.list_clips(folder)
        missing = left_out(folder, listing.clips, listing.problems)
        assert {problem.path for problem in missing} == names

    def test_a_byte_order_mark_in_a_list_changes_nothing(self, folder):
        before = self.registered.list_clips(folder).clips
        for name in self.lists:
            (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())
        assert self.registered.list_clips(folder).clips == before
