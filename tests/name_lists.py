"""The complete name lists of two datasets: file names and official lists, no media.

Facts about Celeb-DF v2 and FaceForensics++ that a plain clone can hold published counts against.
"""

import gzip
import json
from pathlib import Path

_FOLDER = Path(__file__).parent / "names"


def celeb_df_files() -> list[str]:
    """The paths of all 6,529 videos of Celeb-DF v2."""
    return _text("celeb_df_v2_files.txt").split()


def celeb_df_test_list() -> str:
    """Celeb-DF v2's `List_of_testing_videos.txt`: 518 lines `label path`."""
    return _text("List_of_testing_videos.txt")


def faceforensics_pairs() -> dict[str, list[list[str]]]:
    """FaceForensics++'s official lists: split -> pairs of source videos, 360, 70 and 70."""
    return {
        split: json.loads(_text(f"faceforensics_{split}.json"))
        for split in ("train", "val", "test")
    }


def _text(name: str) -> str:
    return gzip.decompress((_FOLDER / f"{name}.gz").read_bytes()).decode("ascii")
