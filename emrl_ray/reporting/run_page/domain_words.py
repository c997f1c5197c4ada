"""The reasons for which a crystal is out of a model's domain, in words."""

from __future__ import annotations

WORDS = {
    "unseen_element": "element not in the training set",
    "unseen_pair": "pair of elements not in the training set",
    "pair_distance": "pair distance unlike those of the training set",
    "volume_per_atom": "volume per atom outside the range of the training set",
    "shortest_distance": "shortest distance outside the range of the training set",
    "atoms": "more or fewer atoms than in the training set",
    "features": "features far from those of the training set",
    "embedding": "embedding far from those of the training set",
    "unknown": "reason not recorded",
}
"""What the first word of `domain_reason` means."""


def reason_words(code: str) -> str:
    """Return what a code means; of an unknown one, the code without its underscores."""
    return WORDS.get(code, code.replace("_", " "))


def short_reason(reason: str | None) -> str:
    """Return a whole `domain_reason` as short words."""
    code, _, rest = (reason or "").partition(" ")
    words = code.replace("_", " ")
    return f"{words} {rest}".strip() or WORDS["unknown"]
