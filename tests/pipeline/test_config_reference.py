"""docs/configuration.md says what the classes say."""

from pathlib import Path

from pipeline.config import Config
from pipeline.config_reference import reference
from preprocessing.support.section import section_of

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def keys(section, prefix=""):
    for name, field in section.model_fields.items():
        below = section_of(field.annotation)
        if below:
            yield from keys(below, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == reference(), "run `make docs`"


def test_every_key_is_described_in_one_sentence():
    described = dict(keys(Config))
    assert len(described) > 70
    for key, field in described.items():
        assert field.description, key
        assert field.description.endswith("."), key
        assert "\n" not in field.description, key


def test_ranges_choices_and_defaults_are_shown():
    page = reference()
    for row in (
        "| `margin` | number, 0.5 to 3 | `1.3` | Side of the square crop",
        "| `schedule` | `cosine`, `constant` | `cosine` |",
        "| `dropout` | list: number, 0 to 0.95 | `[0.0, 0.6]` |",
        "| `bounds` | list: text | `[]` |",
        "| `dir` | text | empty |",
    ):
        assert row in page, row
