"""Ids that were used before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def duplicated(columns: Sequence[pa.Array]) -> list[NDArray[np.bool_]]:
    """Return for each column of ids which of them occurred before, in it or in an earlier one."""
    if not columns:
        return []
    ids = pa.chunked_array(columns, pa.string())
    flags = np.zeros(len(ids), bool)
    if pc.count_distinct(ids).as_py() < len(ids):
        encoded = ids.dictionary_encode().unify_dictionaries()
        codes = np.concatenate([np.asarray(chunk.indices) for chunk in encoded.chunks])
        flags[:] = True
        flags[np.unique(codes, return_index=True)[1]] = False
    return np.split(flags, np.cumsum([len(column) for column in columns])[:-1])
