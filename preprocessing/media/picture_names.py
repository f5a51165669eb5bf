"""Parses the names of pictures: clip, number of the frame, and number of the face.

Scripts that cut frames or faces out of videos name them in a few ways, with `_` or `-` between:

    <clip>_frame_10_face_0.jpg    <clip>_frame_10.jpg    <clip>_10.jpg    <clip>_10_face_0.jpg
    <clip>/0001.png               <clip>/frame_10.png    <clip>/<clip>_10.png

Names of FaceForensics++, Celeb-DF and DFDC tell one number from another where these ways do not:
`id0_id16_0001` has no frame, `abcdefghij_10_0` has frame 10 and face 0, and so has
`abcdefghij/10_0.png`.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import NamedTuple

# Celeb-DF, its YouTube-real, and DFDC. Clips of FaceForensics++ are told by their folder only:
# 071_054.png may be a frame of 071.
_CLIP = r"id\d+(?:_id\d+)?_\d{4}|00\d{3}|[a-z]{10}"
_DFDC = re.compile(r"[a-z]{10}")
_CLIP_FOLDER = re.compile(rf"{_CLIP}|\d{{3}}(?:_\d{{3}})?|\d\d(?:_\d\d)?__\w+")
_CLIPS = re.compile(_CLIP)
_SPELLED = re.compile(r"(?:^|[_-])(?:frame|face)[_-]?\d", re.IGNORECASE)
_FACE = r"(?:[_-]face[_-]?(?P<face>\d+))?"
_ANY_FACE = r"(?:[_-](?:face[_-]?)?(?P<face>\d+))?"
# Within a folder that has the name of a clip, and within any folder.
_IN_CLIP = re.compile(rf"(?:frame[_-]?)?(?P<frame>\d+){_ANY_FACE}", re.IGNORECASE)
_BARE = re.compile(rf"(?:frame[_-]?)?(?P<frame>\d+){_FACE}", re.IGNORECASE)
_NAMED = (
    re.compile(rf"(?P<clip>{_CLIP})(?:[_-](?:frame[_-]?)?(?P<frame>\d+){_ANY_FACE})?"),
    re.compile(rf"(?P<clip>.+?)[_-]frame[_-]?(?P<frame>\d+){_FACE}", re.IGNORECASE),
    re.compile(rf"(?P<clip>.+?)[_-](?:face[_-]?)?(?P<frame>\d+){_FACE}", re.IGNORECASE),
)
# What stands before the number of a picture that is no frame of anything; a date may be between,
# or stand alone.
_PICTURE_WORDS = frozenset(
    "crop dsc dscn face fake image img photo photograph pic picture pxl real sample scan "
    "screenshot seed".split()
)
# With the hour and the minute, where the number is the second.
_DAY = r"(?:19|20)\d\d[_-]?(?:0[1-9]|1[0-2])[_-]?(?:0[1-9]|[12]\d|3[01])(?:[_-][0-5]\d){0,2}"
_DATE_ALONE = re.compile(_DAY)
_DATE = re.compile(rf"(?:[_-](?:{_DAY}|\d{{6,}}))+$")
# Hours, minutes and seconds, with or without thousandths.
_TIME_OF_DAY = re.compile(r"(?:[01]\d|2[0-3])(?:[0-5]\d){2}(?:\d{3})?")
# Records hold numbers of 64 bits with a sign. Longer ones in names are times and the like.
_NUMBERS = 2**63


class PictureName(NamedTuple):
    """The parts of a picture's name.

    Attributes:
      clip: name of the clip; empty where the folder is the clip, None where the name holds none.
      frame: number of the frame, below 2**63; None where the name has none.
      face: number of the face in that frame, below 2**63; 0 without one.
      sure: whether the name says that this is a frame or a face of a clip, or is a dataset's; mere
        numbers may also count pictures that have nothing to do with each other.
    """

    clip: str | None
    frame: int | None
    face: int = 0
    sure: bool = False


def picture_name(path: PurePath) -> PictureName:
    """Reads the name of a picture; its folder's name helps, where the path has one."""
    folder = path.parent.name
    stem = path.stem
    in_frames = path.parent.parent.name == "frames"
    in_clip = in_frames or _CLIP_FOLDER.fullmatch(folder) is not None
    spelled = _SPELLED.search(stem) is not None
    if within := (_IN_CLIP if in_clip else _BARE).fullmatch(stem):
        sure = spelled or in_frames or (in_clip and not _may_be_a_word(folder, within))
        return PictureName("", *_numbers(within), sure=sure)
    for form in _NAMED:
        if match := form.fullmatch(stem):
            clip = match["clip"]
            dated = not spelled and _is_taken_at(clip, match, folder)
            if dated or _DATE.sub("", clip).lower() in _PICTURE_WORDS:
                return PictureName(None, *_numbers(match))
            of_dataset = _CLIPS.fullmatch(clip) and not _may_be_a_word(clip, match)
            sure = spelled or clip == folder or bool(of_dataset)
            return PictureName("" if clip == folder else clip, *_numbers(match), sure=sure)
    return PictureName(None, None)


def natural_order(name: str) -> tuple[list[tuple[int, str]], str]:
    """Key that sorts 9.png before 10.png."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts], name


def _is_taken_at(date: str, match: re.Match[str], folder: str) -> bool:
    """Whether a name is when a picture was taken; the date of a folder may name a clip as well."""
    if _DATE_ALONE.fullmatch(date) is None:
        return False
    return date != folder or _TIME_OF_DAY.fullmatch(match["frame"]) is not None


def _may_be_a_word(clip: str, match: re.Match[str]) -> bool:
    """Whether ten letters need not be a clip of DFDC, whose pictures tell frame and face."""
    return _DFDC.fullmatch(clip) is not None and match["face"] is None


def _numbers(match: re.Match[str]) -> tuple[int | None, int]:
    frame, face = (int(match[part]) if match[part] else None for part in ("frame", "face"))
    if frame is not None and frame >= _NUMBERS:
        frame = None
    return frame, face if face is not None and face < _NUMBERS else 0
