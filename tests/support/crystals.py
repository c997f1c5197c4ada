"""Small crystals that tests make themselves."""

import numpy as np

from emrl_ray.crystals.batch import CrystalBatch

ROCK_SALT = CrystalBatch(
    2.8 * np.array([[[0.0, 1, 1], [1, 0, 1], [1, 1, 0]]]),
    np.array([11, 17], np.uint8),
    np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]),
    np.array([0, 2]),
)


def random_batch(
    count: int, seed: int = 0, atoms: tuple[int, int] = (2, 8), elements: int = 60
) -> CrystalBatch:
    """Return crystals with skewed cells of about 18 Å³ an atom, each with neighbours within 5 Å."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(count):
        n = int(rng.integers(*atoms))
        lattice = np.eye(3) + 0.25 * rng.standard_normal((3, 3))
        lattice *= (18.0 * n / abs(np.linalg.det(lattice))) ** (1 / 3)
        parts.append(
            CrystalBatch(
                lattice[None],
                rng.integers(1, elements, n).astype(np.uint8),
                rng.random((n, 3)),
                np.array([0, n]),
            )
        )
    return CrystalBatch.concatenate(parts)
