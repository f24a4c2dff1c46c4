"""All places and levels at once: the least squares of what overlapping patches say."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from model.placement.canvas import Poses
from model.placement.links import Links
from model.placement.workers import Workers

_MIN_DETAIL = 0.3
"""Links whose patches agree less say nothing."""
_TOLERANCE = 1e-5
_MAX_ITERATIONS = 400
_ROBUST_ROUNDS = 3
_ROBUST_PX = 0.25
"""Pixels of contradiction at which a link counts for half."""


@dataclass(frozen=True)
class _System:
    """Rows `information @ (to_b u[b] - to_a u[a] - move)`; unknowns [N, 3] in patch pixels."""

    links: Links
    to_a: torch.Tensor
    to_b: torch.Tensor
    half: float

    def contradictions(self, unknowns: torch.Tensor) -> torch.Tensor:
        """What the links still want of `unknowns`: float64 [M, 3]."""
        return (
            torch.einsum("mij,mj->mi", self.to_b, unknowns[self.links.b])
            - torch.einsum("mij,mj->mi", self.to_a, unknowns[self.links.a])
            - self.links.move
        )


def adjusted(
    poses: Poses, links: Links, patch_size: int, fixed: torch.Tensor | None, workers: Workers
) -> Poses:
    """Move and scale the patches so that their overlaps contradict one another least.

    Conjugate gradients on the normal equations, with each patch's own 3 x 3 block as the
    preconditioner; links that stand against all others lose their weight.

    Args:
        poses: Where the patches lie now.
        links: Measured there.
        patch_size: Pixels.
        fixed: Rows that stay, bool [N]; None lets all float (their common offset stays).
        workers: Asked before every step whether to go on.
    """
    links = links[links.detail >= _MIN_DETAIL]
    half = patch_size / 2
    system = _System(
        links, _lever(links.at_a, None, half), _lever(links.at_b, links.ratio, half), half
    )
    free = torch.ones(len(poses), 1, dtype=torch.float64, device=poses.level.device)
    if fixed is not None:
        free[fixed] = 0
    unknowns = torch.zeros(len(poses), 3, dtype=torch.float64, device=free.device)
    weight = torch.ones(len(links), dtype=torch.float64, device=free.device)
    for _ in range(_ROBUST_ROUNDS):
        unknowns = _solve(system, weight, free, unknowns, workers)
        left = system.contradictions(unknowns)
        size = left[:, :2].norm(dim=1) + left[:, 2].abs() * half / 2
        weight = 1 / (1 + (size / _ROBUST_PX).square())
    pixel = 2.0 ** -poses.level[:, None] / patch_size
    return Poses(
        poses.indices,
        poses.center_xy + unknowns[:, :2] * pixel,
        poses.level - unknowns[:, 2] / half / math.log(2),
    )


def _lever(at: torch.Tensor, ratio: torch.Tensor | None, half: float) -> torch.Tensor:
    """How a patch's unknowns move the place `at` (pixels of `a` from its middle): [M, 3, 3]."""
    lever = torch.zeros(len(at), 3, 3, dtype=torch.float64, device=at.device)
    lever[:, 0, 0] = lever[:, 1, 1] = 1.0 if ratio is None else ratio
    lever[:, :2, 2] = at / half
    lever[:, 2, 2] = 1 / half
    return lever


def _solve(
    system: _System,
    weight: torch.Tensor,
    free: torch.Tensor,
    begin: torch.Tensor,
    workers: Workers,
) -> torch.Tensor:
    """Preconditioned conjugate gradients from `begin`: float64 [N, 3]."""
    links = system.links
    information = links.information * weight[:, None, None]

    def transposed(rows: torch.Tensor) -> torch.Tensor:
        """Sums over each patch's links of the transposed levers, [N, 3]."""
        out = torch.zeros_like(begin)
        out.index_add_(0, links.b, torch.einsum("mij,mi->mj", system.to_b, rows))
        out.index_add_(0, links.a, -torch.einsum("mij,mi->mj", system.to_a, rows))
        return out * free

    block = torch.zeros(len(begin), 3, 3, dtype=torch.float64, device=begin.device)
    for rows, lever in ((links.a, system.to_a), (links.b, system.to_b)):
        block.index_add_(0, rows, lever.mT @ information @ lever)
    scale = block.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-6)
    ridge = 1e-6 * scale[:, None, None] * torch.eye(3, dtype=torch.float64, device=begin.device)
    precondition = torch.linalg.inv(block + ridge)

    def wanted(unknowns: torch.Tensor) -> torch.Tensor:
        left = system.contradictions(unknowns)
        return -transposed((information @ left[:, :, None])[:, :, 0])

    x = begin.clone()
    residual = wanted(x)
    z = (precondition @ residual[:, :, None])[:, :, 0] * free
    direction = z.clone()
    power = (residual * z).sum()
    goal = _TOLERANCE**2 * float(power)
    for _ in range(_MAX_ITERATIONS):
        if float(power) <= goal or float(power) == 0.0:
            break
        workers.check()
        image = torch.einsum("mij,mj->mi", system.to_b, direction[links.b]) - torch.einsum(
            "mij,mj->mi", system.to_a, direction[links.a]
        )
        image = transposed((information @ image[:, :, None])[:, :, 0])
        step = power / (direction * image).sum().clamp_min(1e-300)
        x += step * direction
        residual -= step * image
        z = (precondition @ residual[:, :, None])[:, :, 0] * free
        last, power = power, (residual * z).sum()
        direction = z + power / last * direction
    return x
