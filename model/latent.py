"""Which picture of many: a seed, or a blend of seeds between the mean and beyond.

    12                     what seed 12 names
    12~37@0.25             three quarters of seed 12 and one of 37
    3~4@0.25~103@0.5       of several seeds; the one without a number has what is left of 1
    12~psi0.7              seed 12, truncated: 0.7 of the way to it from the mean of all
    12~37@0.25~psi0.7      both

Everything that takes a seed takes such text: links, the command line, the JSON of paths and stills.
It contains nothing that a shell or a link would have to quote. Blends are linear in w, behind the
mapping network: with seeds s_i of weight a_i, w = mean + psi (sum a_i w(s_i) - mean). A seed alone
with psi 1 is a plain int, so equal latents are equal values, and text and value are one to one.

Source: Karras et al. 2019 (StyleGAN), section 3.2 and appendix B: truncation in w. Plain Python.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

MAX_PSI = 2.0
MAX_PARTS = 64
"""Seeds in one blend."""
PLANE_COLUMNS = 100
"""Seeds in a row of the plane: seed = 100 * row + column."""
PLANE_ROWS = 10_000_000
_NOTHING = 1e-9
_SLACK = 1e-6
_ROUNDING = 1e-12
_DECIMALS = 6
_EXAMPLE = "a latent looks like 12, 12~37@0.25, or 12~psi0.7"
_PART = re.compile(r"(\d{1,18})(?:@(\d*\.?\d+(?:e-?\d+)?))?", re.IGNORECASE)
_PSI = re.compile(r"psi(\d*\.?\d+(?:e-?\d+)?)", re.IGNORECASE)


@dataclass(frozen=True)
class Latent:
    """What no seed names by itself. Made by `mix`, `blend` and `truncated`, which see to its form.

    Raises:
        ValueError: The parts are not in that form: seeds that rise, weights of a sum of 1, more
            than a seed alone.
    """

    parts: tuple[tuple[int, float], ...]
    """Seeds in rising order, each with its weight above 0; the weights add up to 1."""
    psi: float = 1.0
    """How far from the mean: 1 as it is, 0 the mean itself, up to `MAX_PSI`."""

    def __post_init__(self) -> None:
        seeds = [seed for seed, _ in self.parts]
        weights = [weight for _, weight in self.parts]
        if not seeds or seeds != sorted(set(seeds)) or seeds[0] < 0 or len(seeds) > MAX_PARTS:
            raise ValueError(
                f"a blend must have 1 to {MAX_PARTS} seeds of 0 or more that rise, got {seeds}."
            )
        if not all(0 < weight <= 1 for weight in weights) or abs(sum(weights) - 1) > _SLACK:
            raise ValueError(f"weights of a blend must be above 0 and add up to 1, got {weights}.")
        if not 0 <= self.psi <= MAX_PSI:
            raise ValueError(f"psi must lie in 0 to {MAX_PSI:g}, got {self.psi}.")
        if len(seeds) == 1 and self.psi == 1:
            raise ValueError(f"seed {seeds[0]} alone is a plain number, not a blend.")

    def __str__(self) -> str:
        (first, _), *others = self.parts
        words = [str(first), *(f"{seed}@{weight!r}" for seed, weight in others)]
        return "~".join([*words, f"psi{self.psi!r}"] if self.psi != 1 else words)


Seed = int | Latent
"""Names a latent: a number of 0 or more, or what lies between those that numbers name."""


def mix(parts: Iterable[tuple[int, float]], psi: float = 1.0) -> Seed:
    """The blend of seeds.

    Args:
        parts: Seeds and weights of 0 or more, in any order; they are scaled to a sum of 1.
        psi: How far from the mean, 0 to `MAX_PSI`.

    Raises:
        ValueError: There is no weight above 0, too many seeds, or a number is out of its range.
    """
    weights: dict[int, float] = {}
    for seed, weight in parts:
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"a weight must be 0 or more, seed {seed} has {weight}.")
        weights[seed] = weights.get(seed, 0.0) + weight
    total = math.fsum(weights.values())
    if total <= 0:
        raise ValueError("a blend needs a seed with a weight above 0, got none.")
    scale = 1.0 if abs(total - 1) < _ROUNDING else 1 / total
    kept = sorted((s, w * scale) for s, w in weights.items() if w * scale > _NOTHING)
    if len(kept) == 1:
        if psi == 1 and kept[0][0] >= 0:
            return kept[0][0]
        return Latent(((kept[0][0], 1.0),), float(psi))
    # As text has it: the first has what the others leave.
    others = kept[1:]
    return Latent(((kept[0][0], _rest(w for _, w in others)), *others), float(psi))


def _rest(weights: Iterable[float]) -> float:
    return 1.0 - math.fsum(weights)


def parts_of(seed: Seed) -> tuple[tuple[int, float], ...]:
    """Seeds and their weights, which add up to 1."""
    return seed.parts if isinstance(seed, Latent) else ((seed, 1.0),)


def psi_of(seed: Seed) -> float:
    """How far from the mean: 1 is as it is."""
    return seed.psi if isinstance(seed, Latent) else 1.0


def truncated(seed: Seed, psi: float) -> Seed:
    """The same blend at another distance from the mean (not `psi` times the present one)."""
    return mix(parts_of(seed), psi)


def blend(a: Seed, b: Seed, t: float) -> Seed:
    """The point of w at `t` (0 to 1) of the straight way from `a` to `b`; the ends exactly."""
    if t <= 0 or a == b:
        return a
    if t >= 1:
        return b
    psi = (1 - t) * psi_of(a) + t * psi_of(b)
    # Truncation shrinks the difference from the mean: that is what is added up.
    from_a, from_b = (1 - t) * psi_of(a), t * psi_of(b)
    if psi == 0:
        from_a, from_b = 1 - t, t
    parts = [(s, w * from_a) for s, w in parts_of(a)] + [(s, w * from_b) for s, w in parts_of(b)]
    whole = from_a + from_b
    return mix(((s, w / whole) for s, w in parts), psi)


def parse_seed(text: str) -> Seed:
    """The latent that `text` means; `str` is the inverse.

    Raises:
        ValueError: It means none; the message says what would.
    """
    *words, last = text.strip().split("~")
    psi = 1.0
    found = _PSI.fullmatch(last)
    if found is not None:
        psi = float(found[1])
    else:
        words.append(last)
    given: list[tuple[int, float]] = []
    resting: list[int] = []
    for word in words:
        part = _PART.fullmatch(word)
        if part is None:
            raise ValueError(f"{_EXAMPLE}, got {text[:80]!r}.")
        if part[2] is None:
            resting.append(int(part[1]))
        else:
            given.append((int(part[1]), float(part[2])))
    if len(resting) > 1 or not (given or resting):
        raise ValueError(f"one seed of a blend has no weight, the others have: got {text[:80]!r}.")
    rest = _rest(weight for _, weight in given)
    if rest < -_SLACK or (not resting and rest > _SLACK):
        raise ValueError(f"the weights of a blend must add up to 1, got {text[:80]!r}.")
    return mix([*((seed, max(rest, 0.0)) for seed in resting), *given], psi)


def seed_to_json(seed: Seed) -> int | str:
    """A plain value for `json.dumps`: the number, or the text of a blend."""
    return str(seed) if isinstance(seed, Latent) else seed


def seed_from_json(value: object) -> Seed:
    """The latent that `seed_to_json` described, or that `value` is.

    Raises:
        ValueError: It is neither a whole number of 0 or more nor the text of a latent.
    """
    if isinstance(value, Latent):
        return value
    if isinstance(value, str):
        return parse_seed(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"a seed must be a whole number or a text, got {value!r}; {_EXAMPLE}.")
    if value < 0:
        raise ValueError(f"a seed must be 0 or more, got {value}.")
    return value


def in_short(seed: Seed) -> str:
    """For where there is little room: the seed, or the heaviest of a blend and that it is one."""
    if not isinstance(seed, Latent):
        return str(seed)
    heaviest = max(seed.parts, key=lambda part: part[1])[0]
    return f"{heaviest}~" if len(seed.parts) > 1 else str(heaviest)


def plane_latent(x: float, y: float, psi: float = 1.0) -> Seed:
    """The latent at a point of the plane: bilinear between the seeds at whole numbers.

    Args:
        x: Column; the plane ends at 0 and at `PLANE_COLUMNS` - 1.
        y: Row; the plane ends at 0 and at `PLANE_ROWS` - 1.
        psi: How far from the mean.
    """
    x, y = on_plane(x, y)
    column = min(math.floor(x), PLANE_COLUMNS - 2)
    row = min(math.floor(y), PLANE_ROWS - 2)
    fx, fy = round(x - column, 3), round(y - row, 3)
    corners = [
        (PLANE_COLUMNS * (row + j) + column + i, round(across * down, _DECIMALS))
        for j, down in enumerate((1 - fy, fy))
        for i, across in enumerate((1 - fx, fx))
    ]
    return mix(corners, psi)


def on_plane(x: float, y: float) -> tuple[float, float]:
    """The nearest point of the plane."""
    return min(max(x, 0.0), PLANE_COLUMNS - 1.0), min(max(y, 0.0), PLANE_ROWS - 1.0)


def plane_seed(column: int, row: int) -> int | None:
    """The seed at a grid point; None beyond the plane."""
    if not (0 <= column < PLANE_COLUMNS and 0 <= row < PLANE_ROWS):
        return None
    return PLANE_COLUMNS * row + column


def plane_point(seed: Seed) -> tuple[float, float] | None:
    """Where a latent lies on the plane, whatever its psi; None where it does not."""
    parts = dict(parts_of(seed))
    if max(parts) >= PLANE_COLUMNS * PLANE_ROWS or len(parts) > 4:
        return None
    places = [(s % PLANE_COLUMNS, s // PLANE_COLUMNS, w) for s, w in parts.items()]
    x = math.fsum(column * w for column, _, w in places)
    y = math.fsum(row * w for _, row, w in places)
    x, y = on_plane(round(x, 3), round(y, 3))
    there = dict(parts_of(plane_latent(x, y)))
    same = there.keys() == parts.keys()
    return (x, y) if same and all(abs(there[s] - parts[s]) < 2e-3 for s in parts) else None
