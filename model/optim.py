"""An optimiser for tables of which a step touches few rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch


class TouchedRMSprop(torch.optim.Optimizer):
    """RMSprop whose averages move only where a gradient arrived.

    Adam on a sparsely touched table divides by an average that zeros have diluted: rows touched in
    one step of 300 would move 17 times the rate. Here the second moment counts touches, not steps,
    and starts at the first gradient. (`torch.optim.SparseAdam` counts touches too, yet corrects its
    bias by the number of steps.)

    Args:
        params: Tables [..., features]; rows are their last axis.
        lr: Step of a row whose gradient has its usual size.
        beta2: Share of the old second moment at a touch.
    """

    def __init__(self, params: Iterable[torch.Tensor], lr: float, beta2: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "beta2": beta2})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Update every touched row, and clear its gradient."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:
                    continue
                state = self.state[param]
                if not state:
                    state["square"] = torch.zeros_like(param)
                self._update(param, state["square"], group["lr"], group["beta2"])

    @staticmethod
    def _update(param: torch.Tensor, square: torch.Tensor, lr: float, beta2: float) -> None:
        features = param.shape[-1]
        table, grad = param.view(-1, features), param.grad.view(-1, features)
        rows = grad.abs().amax(1).nonzero()[:, 0]
        g = grad[rows]
        old = square.view(-1, features)[rows]
        new = torch.where(old == 0, g.square(), old * beta2 + g.square() * (1 - beta2))
        square.view(-1, features)[rows] = new
        table[rows] -= lr * g / (new.sqrt() + 1e-12)
        grad[rows] = 0
