"""Sections and records: types, messages, copies, and the way to Beam's workers."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated, Literal

import pytest
from apache_beam.internal import pickler
from pydantic import Field, field_validator

from preprocessing.extraction.clip_row import ClipRow
from preprocessing.faces.crop_settings import TRAINING, CropSettings, ExtractionConfig
from preprocessing.support.errors import UsageError
from preprocessing.support.record import Record
from preprocessing.support.section import AsList, Number, Section, Text, validated


class Inner(Section):
    share: Number = Field(0.5, ge=0.0, le=1.0)
    counts: Annotated[tuple[Annotated[int, Field(ge=1, le=9)], ...], AsList] = (1,)
    way: Literal["left", "right"] = "left"

    @field_validator("way")
    @classmethod
    def _check_way(cls, way: str) -> str:
        if way == "right":
            raise ValueError("it is closed; go left")
        return way


class Outer(Section):
    inner: Inner = Inner()
    name: Text = ""


class Entry(Record):
    size: int
    parts: list[Inner] = []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inner": {"shar": 1}}, "unknown key 'top.inner.shar'; did you mean 'share'"),
        ({"inner": {"share": 2}}, "top.inner.share: 2.0 is outside 0.0 to 1.0"),
        ({"inner": {"share": "0.5"}}, "top.inner.share: '0.5' is not a number"),
        ({"inner": {"share": True}}, "top.inner.share: True is not a number"),
        ({"inner": {"counts": [1, 10]}}, "top.inner.counts: 10 is outside 1 to 9"),
        ({"inner": {"counts": 3}}, "top.inner.counts: 3 is not a list; write"),
        ({"inner": {"way": "lefft"}}, "top.inner.way: 'lefft' is not known; did you mean 'left'"),
        ({"inner": {"way": "right"}}, "top.inner.way: it is closed; go left"),
        ({"inner": 5}, "top.inner must hold `key: value` lines"),
        ({"name": None}, "top.name: None is not a text"),
        ({3: 4}, "unknown key 'top.3'"),
    ],
)
def test_messages_name_key_value_and_limits(values, message):
    with pytest.raises(UsageError, match=f"^{message}"):
        Outer.from_dict(values, key="top")


def test_numbers_may_be_texts_in_yaml_only():
    assert validated(Outer, {"inner": {"share": "1e-3"}, "name": None}, from_yaml=True) == Outer(
        inner=Inner(share=0.001)
    )


def test_messages_begin_with_the_place():
    with pytest.raises(UsageError, match=r"^a.yaml of inner.share: inner.share: 2.0 is outside"):
        validated(Outer, {"inner": {"share": 2}}, where=lambda key: f"a.yaml of {key}")


def test_copies_are_checked_and_the_original_stays():
    section = Inner()
    assert section.replace(share=1).share == 1.0
    assert section.share == 0.5
    with pytest.raises(UsageError, match=r"^share: 2.0 is outside"):
        section.replace(share=2)
    with pytest.raises(UsageError, match=r"^unknown key 'sahre'"):
        section.replace(sahre=1)
    with pytest.raises(ValueError, match="frozen"):
        section.share = 1.0


def test_records_keep_what_they_do_not_know_and_what_they_were_not_given():
    values = {"size": 3, "new": [1, None], "parts": [{"share": 0.25}]}
    assert Entry.from_dict(values).to_dict() == values
    with pytest.raises(UsageError, match=r"^file.size: it is missing"):
        Entry.from_dict({}, key="file")
    with pytest.raises(UsageError, match=r"^parts.share: 'x' is not a number"):
        Entry.from_dict({"size": 3, "parts": [{"share": "x"}]})


@pytest.mark.parametrize(
    "value",
    [
        CropSettings(frames_per_clip=3, precropped=True),
        ClipRow(path="a\udce9.mp4", label=1, method="swap", dropped={"blurred": 2}),
    ],
    ids=["settings", "row"],
)
def test_workers_of_beam_get_equal_values(value):
    copy = pickler.loads(pickler.dumps(value))
    assert copy == value
    assert copy.to_dict() == value.to_dict()


def test_one_class_decides_the_crops():
    """The section has what people choose; card and cache key have all that decides."""
    extraction = ExtractionConfig(margin=1.5, workers=4)
    settings = extraction.crop_settings(precropped=True)
    assert settings == CropSettings(margin=1.5, precropped=True)
    assert {*extraction.to_dict(), "precropped"} - {"workers"} == {*settings.to_dict()}
    assert settings.policy == TRAINING
    assert "policy" not in settings.to_dict()
    assert settings.replace(policy="all").to_dict()["policy"] == "all"
    with pytest.raises(UsageError, match=r"unknown key 'extraction.precropped'"):
        ExtractionConfig.from_dict({"precropped": True}, key="extraction")


def test_configuration_loads_without_anything_heavy():
    heavy = {"tensorflow", "tfx", "apache_beam", "cv2", "keras", "scipy"}
    program = (
        "import sys; from pipeline.config import load_config; load_config('demo');"
        f"assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
