"""How many of a shortlist are what was asked for: band gaps of 1.0 to 1.7 eV in MPL.

    python -m benchmarks.trust.shortlist --data DATA --work FOLDER

A model learns from a random fifth of MPL for a few epochs and screens the other crystals by the verbs
`train` and `screen`; their true gaps are then looked up. Of each ranking the shares of the first 20 to 500
rows that are in the window are told: by the probability of a gap in it and by how near its middle the
prediction is, each as it is and with the rows outside the domain last. At random is the share of all rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.common.arguments import RESULTS, add_seeds, data_parser
from emrl_ray.commands.screen.command import screen
from emrl_ray.commands.train import train
from emrl_ray.config import ScreenConfig, TrainConfig
from emrl_ray.io.atomic import write_json
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.io.runtime import hardware_info

TARGET, LOW, HIGH = "band_gap", 1.0, 1.7
TOPS = (20, 50, 100, 200, 500)


def main() -> None:
    """Train, screen, look up, and write the figures."""
    parser = data_parser(__doc__, work="folder for tables, models and runs")
    parser.add_argument("--epochs", type=int, default=20)
    add_seeds(parser)
    words = parser.parse_args()
    found: dict[str, Any] = {"machine": hardware_info(), "epochs": words.epochs}
    for seed in words.seeds:
        found[str(seed)] = precision(words.data, f"{words.work}/{seed}", words.epochs, seed)
        print(seed, found[str(seed)], flush=True)
        write_json(found, resolve(RESULTS / "trust" / "shortlist.json"))


def precision(data: str, work: str, epochs: int, seed: int) -> dict[str, Any]:
    """Return the share of each ranking's first rows with a true gap in the window."""
    table = read_table(f"{data}/mpl.parquet")
    learned = np.random.default_rng(seed).random(table.num_rows) < 0.2
    write_parquet(table.filter(pa.array(learned)), resolve(f"{work}/known.parquet"))
    rest = table.filter(pa.array(~learned))
    hidden = [name for name in rest.column_names if name not in (TARGET, "formation_energy")]
    write_parquet(rest.select(hidden), resolve(f"{work}/library.parquet"))
    train(
        TrainConfig(
            crystals=f"{work}/known.parquet",
            target=TARGET,
            preset="MPL-BG",
            epochs=epochs,
            seed=seed,
            out=f"{work}/model",
        )
    )
    screen(
        ScreenConfig(
            model=f"{work}/model",
            crystals=f"{work}/library.parquet",
            target_window=f"{LOW}:{HIGH}",
            top=max(TOPS),
            out=f"{work}/run",
        )
    )
    columns = ["id", "prediction", "p_in_window", "in_domain"]
    rows = read_table(f"{work}/run/predictions", columns)
    truth = dict(zip(rest.column("id").to_pylist(), rest.column(TARGET).to_pylist(), strict=True))
    gaps = np.array([truth[name] for name in rows.column("id").to_pylist()], float)
    hits = (gaps >= LOW) & (gaps <= HIGH)
    return rankings(rows, hits) | {"rows": {"known": int(learned.sum()), "library": rest.num_rows}}


def rankings(rows: pa.Table, hits: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the share of hits among the first rows of each ranking."""
    prediction, chance = (rows.column(name).to_numpy() for name in ("prediction", "p_in_window"))
    inside = rows.column("in_domain").to_numpy()
    off_middle = np.abs(prediction - (LOW + HIGH) / 2)
    orders = {
        "probability": np.lexsort((off_middle, -chance)),
        "probability, in domain": np.lexsort((off_middle, -chance, ~inside)),
        "prediction alone": np.argsort(off_middle, kind="stable"),
        "prediction alone, in domain": np.lexsort((off_middle, ~inside)),
    }
    found: dict[str, Any] = {
        name: {str(top): round(float(hits[order[:top]].mean()), 4) for top in TOPS}
        for name, order in orders.items()
    }
    return found | {
        "random": round(float(hits.mean()), 4),
        "in_domain": round(float(inside.mean()), 4),
    }


if __name__ == "__main__":
    main()
