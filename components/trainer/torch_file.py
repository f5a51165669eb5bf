"""Reads tensors out of files that PyTorch saved, without PyTorch.

Only the form that `torch.save` wrote before version 1.6, in which the weights that are used here
are published: five pickles (a number, a version, facts about the system, the object, the keys of
the storages), then each storage as its length and its bytes. See `_legacy_save` in PyTorch's
torch/serialization.py.
"""

from __future__ import annotations

import collections
import pickle
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_TYPES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "LongStorage": "<i8", "IntStorage": "<i4"}


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict, by name.

    Args:
      path: a file by `torch.save(module.state_dict(), path)`, old form.

    Raises:
      ValueError: it is of another form, is damaged, or holds anything but tensors.
      OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except (pickle.UnpicklingError, EOFError, struct.error, AttributeError, IndexError) as error:
        raise ValueError(f"{path} is no state dict of PyTorch's old form: {error}") from error


class _Storage:
    """A block of numbers, known by its key until the file's end gives its content."""

    def __init__(self, kind: str):
        self.kind = kind
        self.values = np.empty(0)


class _Tensor:
    """A part of a storage."""

    def __init__(self, storage: _Storage, offset: int, size: tuple, stride: tuple, *_: Any):
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride

    def array(self) -> np.ndarray:
        values = self.storage.values
        last = self.offset + sum(
            (number - 1) * step for number, step in zip(self.size, self.stride, strict=True)
        )
        if min((self.offset, *self.size, *self.stride), default=0) < 0 or last >= values.size:
            raise ValueError("a tensor reaches beyond its storage")
        strides = [step * values.itemsize for step in self.stride]
        view = np.lib.stride_tricks.as_strided(values[self.offset :], self.size, strides)
        return view.copy()


class _Unpickler(pickle.Unpickler):
    """Makes tensors and ordered dicts, and nothing else that a pickle may name."""

    def __init__(self, file: BinaryIO):
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name in _TYPES:
            return name
        raise pickle.UnpicklingError(f"it holds a {module}.{name}")

    def persistent_load(self, key: Any) -> _Storage:
        kind, storage, name = key[0], key[1], key[2]
        if kind != "storage" or storage not in _TYPES:
            raise pickle.UnpicklingError(f"it refers to {key!r}")
        return self.storages.setdefault(name, _Storage(storage))


def _read(file: BinaryIO) -> dict[str, np.ndarray]:
    if (_unpickled(file), _unpickled(file)) != (_MAGIC, _VERSION):
        raise pickle.UnpicklingError("it does not begin as one")
    if not _unpickled(file).get("little_endian"):
        raise pickle.UnpicklingError("its numbers are big-endian")
    unpickler = _Unpickler(file)
    tensors = unpickler.load()
    for key in _unpickled(file):
        storage = unpickler.storages[key]
        (length,) = struct.unpack("<q", file.read(8))
        dtype = np.dtype(_TYPES[storage.kind])
        data = file.read(length * dtype.itemsize)
        if len(data) != length * dtype.itemsize:
            raise EOFError("it ends too early")
        storage.values = np.frombuffer(data, dtype)
    return {name: tensor.array() for name, tensor in tensors.items() if isinstance(tensor, _Tensor)}


def _unpickled(file: BinaryIO) -> Any:
    """A pickle of numbers, texts, lists and dicts."""
    return _Unpickler(file).load()
