"""What tests ask of the gateway's OpenAPI document."""

from __future__ import annotations

import pydantic
import pytest
from jsonschema import Draft202012Validator

from serving.model.answer import Answer

VERDICT = "/v1/verdict"


def operations(document):
    """(path, method in capitals) -> operation."""
    return {
        (path, method.upper()): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def faults(document, schema, value):
    """What a schema of the document has against a value."""
    whole = {**schema, "components": document["components"]}
    Draft202012Validator.check_schema(whole)
    return [error.message for error in Draft202012Validator(whole).iter_errors(value)]


def agree(document, answer):
    """Asserts that an answer is one by class and by schema, and would not be with other keys."""
    schema = {"$ref": "#/components/schemas/Answer"}
    assert Answer.model_validate(answer).model_dump(mode="json", exclude_unset=True) == answer
    assert faults(document, schema, answer) == []
    missing = [{k: v for k, v in answer.items() if k != key} for key in answer]
    for wrong in ({**answer, "more": 1}, *missing):
        with pytest.raises(pydantic.ValidationError):
            Answer.model_validate(wrong)
        assert faults(document, schema, wrong)
