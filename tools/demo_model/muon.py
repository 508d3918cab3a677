"""Muon: momentum with orthogonalised updates for matrices (Jordan et al. 2024), Adam for all the rest.

torch.optim.Muon takes two-dimensional parameters only and works through them one by one; most weights here are
convolutions, and on a CPU the many small products are several times faster when equal shapes are stacked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration; singular values end between about 0.7 and 1.2."""


def orthogonalize(g: Tensor, steps: int = 5) -> Tensor:
    """The nearest orthogonal matrices of a stack [n,r,c], roughly (Newton-Schulz in bfloat16)."""
    a, b, c = NEWTON_SCHULZ
    x = g.bfloat16()
    flip = x.shape[1] > x.shape[2]
    if flip:
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        m = x @ x.mT
        x = a * x + (b * m + c * m @ m) @ x
    return (x.mT if flip else x).float()


class Muon(Optimizer):
    """`lr` is the matrices' rate, `adam_lr` the rate of everything else (norms, biases, embeddings, ends)."""

    def __init__(
        self,
        matrices: Iterable[Tensor],
        others: Iterable[Tensor],
        lr: float = 0.01,
        adam_lr: float | None = None,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ):
        shared: dict[str, Any] = {"momentum": momentum, "betas": betas, "weight_decay": weight_decay}
        groups = [
            {"params": list(matrices), "muon": True, "lr": lr, "base": lr, **shared},
            {"params": list(others), "muon": False, "lr": adam_lr or 0.15 * lr, "base": adam_lr or 0.15 * lr, **shared},
        ]
        super().__init__([g for g in groups if g["params"]], {})

    def scale_lr(self, factor: float) -> None:
        """Sets every group to `factor` times the rate it was made with."""
        for group in self.param_groups:
            group["lr"] = group["base"] * factor

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if group["muon"]:
                self._matrices(params, group)
            else:
                self._adam(params, group)

    def _matrices(self, params: list[Tensor], group: dict[str, Any]) -> None:
        stacks: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for p in params:
            state = self.state[p]
            if not state:
                state["m"] = torch.zeros_like(p)
            state["m"].lerp_(p.grad, 1 - group["momentum"])  # type: ignore[arg-type]
            update = p.grad.lerp(state["m"], group["momentum"]).flatten(1)  # type: ignore[union-attr]
            stacks[(update.shape[0], update.shape[1])].append((p, update))
        for (rows, columns), members in stacks.items():
            result = orthogonalize(torch.stack([u for _, u in members]))
            rate = group["lr"] * max(1.0, rows / columns) ** 0.5
            for (p, _), u in zip(members, result, strict=True):
                if group["weight_decay"]:
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(u.view(p.shape), alpha=-rate)

    def _adam(self, params: list[Tensor], group: dict[str, Any]) -> None:
        b1, b2 = group["betas"]
        for p in params:
            state = self.state[p]
            if not state:
                state.update(m=torch.zeros_like(p), v=torch.zeros_like(p), n=0)
            state["n"] += 1
            state["m"].lerp_(p.grad, 1 - b1)  # type: ignore[arg-type]
            state["v"].lerp_(p.grad * p.grad, 1 - b2)  # type: ignore[operator]
            n = state["n"]
            root = (state["v"] / (1 - b2**n)).sqrt_().add_(1e-8)
            p.addcdiv_(state["m"], root, value=-group["lr"] / (1 - b1**n))


def split_parameters(named: Iterable[tuple[str, Tensor]], ends: tuple[str, ...]) -> tuple[list[Tensor], list[Tensor]]:
    """(matrices for Muon, the rest for Adam). Names containing one of `ends` (first and last layers,
    embeddings) go to Adam, as the method asks."""
    matrices, others = [], []
    for name, p in named:
        wide = p.ndim >= 2 and p.flatten(1).shape[1] > 1
        (matrices if wide and not any(e in name for e in ends) else others).append(p)
    return matrices, others
