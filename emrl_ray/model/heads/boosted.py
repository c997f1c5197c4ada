"""EMRL-GB: gradient boosted trees, their depth and number chosen on held out rows."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from emrl_ray.config.errors import UserError
from emrl_ray.model.heads.holdout import check_rows, hold_out

if TYPE_CHECKING:
    from xgboost import Booster

FILE = "head_boosted.ubj"

DEPTHS = (3, 4, 5, 6, 7)
TREES = (100, 150, 200, 300, 400)
SUBSAMPLE = 0.8
VALIDATION = 0.2
"""Share of the rows that choose depth and trees."""
LEARNING_RATE = 0.1
BINS = 64
"""Histogram bins a feature. The paper gives neither this nor the rate: on the published embeddings of
HOIP, XGBoost's own 256 bins and 0.3 gave 0.100 ± 0.005 eV over six splits and took 1.6 times as long,
these 0.096 ± 0.002."""
MIN_ROWS = 10


class BoostedSettings(NamedTuple):
    """Size of a model: depth of each tree, and their number."""

    depth: int
    trees: int


class BoostedHead:
    """XGBoost on the CPU, of the depth and the number of trees that predict held out rows best."""

    def __init__(self, seed: int = 0, threads: int = 1) -> None:
        """Make an unfitted head; `threads` are those of XGBoost in fit and predict."""
        self._seed = seed
        self._threads = threads
        self._booster: Booster | None = None

    def fit(self, embeddings: NDArray[np.float32], targets: NDArray[np.float64]) -> None:
        """Choose depth and trees on 20 % of the rows, then fit to all n ≥ 10 of them."""
        check_rows("boosted", embeddings, targets, MIN_ROWS)
        choice = self._choose(embeddings, targets)
        self._booster = self._train(embeddings, targets, choice)
        self._booster.set_attr(depth=str(choice.depth), trees=str(choice.trees))

    def _choose(
        self, embeddings: NDArray[np.float32], targets: NDArray[np.float64]
    ) -> BoostedSettings:
        """Return the choice with the least MAE on held out rows.

        One fit a depth: its first k trees are the fit with k trees.
        """
        kept, held = hold_out(len(targets), VALIDATION, self._seed)
        errors: dict[BoostedSettings, float] = {}
        for depth in DEPTHS:
            booster = self._train(
                embeddings[kept], targets[kept], BoostedSettings(depth, max(TREES))
            )
            for trees in TREES:
                predictions = booster.inplace_predict(embeddings[held], iteration_range=(0, trees))
                errors[BoostedSettings(depth, trees)] = float(
                    np.abs(predictions - targets[held]).mean()
                )
        return min(errors, key=errors.__getitem__)

    def _train(
        self, embeddings: NDArray[np.float32], targets: NDArray[np.float64], choice: BoostedSettings
    ) -> Booster:
        import xgboost

        parameters: dict[str, Any] = {
            "objective": "reg:squarederror",
            "tree_method": "hist",
            "device": "cpu",
            "max_depth": choice.depth,
            "max_bin": BINS,
            "learning_rate": LEARNING_RATE,
            "subsample": SUBSAMPLE,
            "seed": self._seed,
            "nthread": self._threads,
        }
        rows = xgboost.QuantileDMatrix(embeddings, targets, max_bin=BINS, nthread=self._threads)
        return xgboost.train(parameters, rows, choice.trees)

    def predict(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (B,); a NaN is no missing value to the trees: its row gets a NaN."""
        assert self._booster is not None, "fit or load the head first"
        predictions = self._booster.inplace_predict(embeddings).astype(np.float64)
        predictions[np.isnan(embeddings).any(axis=1)] = np.nan
        return predictions

    @property
    def chosen(self) -> dict[str, int]:
        """The depth and the number of trees."""
        assert self._booster is not None, "fit or load the head first"
        return {name: int(self._booster.attr(name) or 0) for name in BoostedSettings._fields}

    def save(self, folder: pathlib.Path) -> None:
        """Write `head_boosted.ubj`, XGBoost's own format."""
        assert self._booster is not None, "fit the head first"
        self._booster.save_model(folder / FILE)

    @classmethod
    def load(cls, folder: pathlib.Path, threads: int = 1) -> Self:
        """Return the head that `save` left in `folder`; UserError, in one line, if it is damaged."""
        import xgboost

        head = cls(threads=threads)
        head._booster = xgboost.Booster({"nthread": threads, "device": "cpu"})
        content = (folder / FILE).read_bytes()
        try:
            if not content:  # XGBoost would end the process
                raise xgboost.core.XGBoostError
            head._booster.load_model(bytearray(content))
        except xgboost.core.XGBoostError:  # its text is a stack of C++
            raise UserError(f"{FILE} holds no trees of XGBoost") from None
        return head
