"""What tests look up in Delta tables of predictions."""

from __future__ import annotations

from pathlib import Path


def rows(place: Path | str) -> list[tuple[str, str]]:
    """Return run and id of all rows, ordered."""
    import deltalake

    table = deltalake.DeltaTable(str(place)).to_pyarrow_table(columns=["run_id", "id"])
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True))


def versions(place: Path | str) -> int:
    """Return the number of the last commit."""
    import deltalake

    return deltalake.DeltaTable(str(place)).version()
