"""Records in files of runs and models: typed, with unknown keys kept."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from preprocessing.support.section import validated

_Record = TypeVar("_Record", bound="Record")


class Record(BaseModel):
    """Base class of such contents: frozen, and strict about types.

    Keys that a class does not know are kept: a newer version of this program may have added them,
    and raises the file's version where that changes what the others mean.
    """

    # NaN is a value here, as of a measure that is not defined.
    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, of those keys that were given."""
        return self.model_dump(exclude_unset=True)

    @classmethod
    def from_dict(cls: type[_Record], values: Any, key: str = "") -> _Record:
        """The reverse of `to_dict`.

        Args:
          values: plain values.
          key: where in the file they stand, for messages.

        Raises:
          UsageError: a key is missing, or its value has the wrong type.
        """
        return validated(cls, values, prefix=f"{key}." if key else "")
