"""An optimiser for tables of which a step touches few rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from kernels.feature_grid import Touched
from model.breathing import Breathe, in_pieces


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
        touched: What `feature_grid` says of each table's gradients, in the order of `params`; saves
            the search for them in tables [rows, columns, features]. Cleared by `step`.
    """

    def __init__(
        self,
        params: Iterable[torch.Tensor],
        lr: float,
        beta2: float = 0.9,
        touched: Sequence[Touched] = (),
    ) -> None:
        super().__init__(params, {"lr": lr, "beta2": beta2})
        every = [p for group in self.param_groups for p in group["params"]]
        self._touched = dict(zip(every, touched, strict=True)) if touched else {}
        self.breathe: Breathe = lambda: None
        """Called between any two parts of `step`; may wait."""

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
                touched = self._touched.get(param)
                if touched is not None and touched.is_complete:
                    for where in touched.rectangles:
                        self.breathe()
                        # Where two overlap the first clears the gradient of the second.
                        parts = (param[where], param.grad[where], state["square"][where])
                        self._update(*parts, group["lr"], group["beta2"])
                else:
                    for parts in in_pieces(param, param.grad, state["square"]):
                        self.breathe()
                        self._update(*parts, group["lr"], group["beta2"])
                if touched is not None:
                    touched.clear()

    @staticmethod
    def _update(
        param: torch.Tensor, grad: torch.Tensor, square: torch.Tensor, lr: float, beta2: float
    ) -> None:
        """Update the rows that have a gradient, and clear that."""
        rows = grad.abs().amax(-1).nonzero(as_tuple=True)
        g, old = grad[rows], square[rows]
        new = torch.where(old == 0, g.square(), old * beta2 + g.square() * (1 - beta2))
        square[rows] = new
        param[rows] -= lr * g / (new.sqrt() + 1e-12)
        grad[rows] = 0
