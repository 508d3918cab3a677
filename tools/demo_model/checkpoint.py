"""Checkpoints, logs and learning-rate schedules shared by the training commands."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes atomically: a run that is killed leaves the last whole checkpoint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


def load(path: Path) -> dict[str, Any] | None:
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def reached(path: Path) -> int:
    """The step that a checkpoint stands at, to finish a run there."""
    state = load(path)
    if state is None:
        raise SystemExit(f"no checkpoint in {path.parent}: nothing to finish")
    return state["step"]


class Log:
    """One JSON line per report, appended."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.start = path, time.time()

    def write(self, **row: Any) -> None:
        row = {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}
        with self.path.open("a") as f:
            f.write(json.dumps({"s": round(time.time() - self.start, 1), **row}) + "\n")


def trapezoid(step: int, steps: int, warmup: int = 50, decay: float = 0.35) -> float:
    """Rises for `warmup` steps, stays at 1, falls linearly to 0 in the last `decay` of the run.

    The plateau lets a stopped run be resumed with another number of steps.
    """
    fall = max(1.0, decay * steps)
    return max(0.0, min(1.0, (step + 1) / warmup, (steps - step) / fall))


class Ema:
    """Exponential moving average of a module's parameters, with the usual warm-up of the decay."""

    def __init__(self, module: nn.Module, decay: float = 0.999):
        self.decay, self.step = decay, 0
        self.shadow = {k: v.detach().clone() for k, v in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.step += 1
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        names = [k for k, _ in module.named_parameters()]
        new = [p.detach() for _, p in module.named_parameters()]
        torch._foreach_lerp_([self.shadow[k] for k in names], new, 1 - decay)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        for k, p in module.named_parameters():
            p.copy_(self.shadow[k])

    def state(self) -> dict[str, Any]:
        return {"step": self.step, "shadow": self.shadow}

    def load_state(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        for k, v in state["shadow"].items():
            self.shadow[k].copy_(v)


def bf16_autocast(device: str, enabled: bool) -> Any:
    return torch.autocast(device.split(":")[0], torch.bfloat16, enabled=enabled)


def to_tensor(images: Any, device: str) -> Tensor:
    """uint8 [B,H,W,3] to float [B,3,H,W] in -1..1, channels last in memory."""
    x = torch.tensor(images).to(device).permute(0, 3, 1, 2).float()
    return (x / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def write_text(path: Path, text: str) -> None:
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
