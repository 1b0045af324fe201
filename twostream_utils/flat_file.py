"""Named arrays in one flat file that is mapped, not read: it opens at once and is shared.

An `.npz` must be read into each process; the pages of a mapped file lie in memory once, however
many loader workers use them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .files import atomic_write

_MAGIC = b"two-stream arrays 1\n"
_ALIGN = 64


def save_arrays(path: Path, header: Mapping, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `arrays` (none of them empty) and `header` (JSON values) aside, then rename.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    table, end = {}, 0
    for name, array in arrays.items():
        table[name] = [array.dtype.str, list(array.shape), end]
        end += -(-array.nbytes // _ALIGN) * _ALIGN
    text = json.dumps({"header": dict(header), "arrays": table, "bytes": end}).encode()
    with atomic_write(path) as part, open(part, "wb") as file:
        file.write(_MAGIC + len(text).to_bytes(8, "little") + text)
        file.write(bytes(-file.tell() % _ALIGN))
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).data)
            file.write(bytes(-array.nbytes % _ALIGN))


def map_arrays(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """`header` and `arrays` of a file that `save_arrays` wrote; read-only arrays on its pages.

    Raises:
        OSError: no such file.
        ValueError: another kind of file, or one that is cut short.
    """
    with open(path, "rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError(f"{path} is not a file of arrays")
        content = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start = -(-file.tell() // _ALIGN) * _ALIGN
        pages = np.memmap(file, np.uint8, "r", offset=start, shape=(content["bytes"],))
    arrays = {}
    for name, (dtype, shape, at) in content["arrays"].items():
        size = np.dtype(dtype).itemsize * int(np.prod(shape))
        # As plain arrays: indexing a `memmap` object costs several times as much.
        arrays[name] = np.asarray(pages[at : at + size]).view(dtype).reshape(shape)
    return content["header"], arrays
