"""A screen adds its predictions to a Delta table, once."""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc
import pytest

from emrl_ray.config import ConfigError, ScreenConfig
from emrl_ray.crystals.storage import locate, read_table, write_parquet
from emrl_ray.pipelines.screen import screen
from tests.support.delta_tables import rows, versions
from tests.support.models import make_model, random_crystals

deltalake = pytest.importorskip("deltalake")


@pytest.mark.timeout(600)
def test_a_screen_fills_a_table_exactly_once(ray_session, tmp_path, capsys):
    model, library = make_model(tmp_path / "model"), tmp_path / "library.parquet"
    write_parquet(random_crystals(60, 2), locate(library))
    common = {"model": model, "crystals": str(library), "target_window": "10:16", "workers": 1}
    common |= {"out": str(tmp_path / "run"), "block_rows": 20, "format": "delta"}

    def call(**options: Any) -> str:
        screen(ScreenConfig(**(common | options)))
        return capsys.readouterr().out

    table = tmp_path / "run" / "predictions.delta"
    assert f"screen: added to {table}, run_id run" in call(top=5)
    found = deltalake.DeltaTable(str(table)).to_pyarrow_table()
    written = read_table(str(tmp_path / "run" / "predictions"))
    assert found.column_names == [*written.column_names, "run_id"]
    assert found.drop_columns("run_id").sort_by("id").equals(written.sort_by("id"))

    (tmp_path / "run" / "manifest.json").unlink()  # as if it was killed after its commit
    assert f"there already in {table}" in call(top=5)
    assert f"there already in {table}" in call(top=5)
    assert versions(table) == 0

    assert "added to" in call(top=4, overwrite=True)  # and rows of other runs stay where they are
    assert len(rows(table)) == written.num_rows
    with pytest.raises(ConfigError, match="has rows of another run called run: use another"):
        call(top=3, out=str(tmp_path / "two" / "run"), table=str(table))
    assert not (tmp_path / "two").exists()
    later = f"{tmp_path}/nights.delta"
    assert f"added to {later}, run_id monday" in call(top=4, table=later, run_id="monday")
    assert pc.unique(
        deltalake.DeltaTable(later).to_pyarrow_table().column("run_id")
    ).to_pylist() == ["monday"]
