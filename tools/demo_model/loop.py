"""The training loop of the denoisers: batches by lot, Muon, EMA, checkpoints, a log; stops and resumes at any step."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from . import checkpoint
from .data import batch_indices
from .muon import Muon, split_parameters
from .parallel import Ranks, launch
from .progress import bar

Loss = Callable[[int, np.ndarray, np.random.Generator], Tensor]
"""(step, this process's rows of the data, its random numbers) -> the loss of that batch, to be differentiated."""


def fit(
    args: argparse.Namespace, ranks: Ranks, model: nn.Module, name: str, ends: tuple[str, ...], count: int,
    chances: np.ndarray | None, loss_of: Loss,
) -> checkpoint.Ema:  # fmt: skip
    """Trains `model` in place to args.steps and returns the average of its weights.

    name: of the checkpoint and log in args.out; ends: layers that Adam trains (see `split_parameters`); count: of
    the data; chances: see `batch_indices`. Of args: steps, batch, lr, ema, seed, average_every, save_every, until, out.
    """
    matrices, others = split_parameters(model.named_parameters(), ends)
    optimizer = Muon(matrices, others, lr=args.lr)
    ema = checkpoint.Ema(model, args.ema)
    path, start = Path(args.out) / f"{name}.pt", 0
    if state := checkpoint.load(path):
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        ema.load_state(state["ema"])
        start = state["step"]
    log = checkpoint.Log(Path(args.out) / f"{name}.log")
    params, saved, mean_loss = list(model.parameters()), time.time(), 0.0
    each = args.batch // ranks.world
    mine = slice(ranks.rank * each, (ranks.rank + 1) * each)
    steps = range(start, min(args.until or args.steps, args.steps))
    for step in bar(steps, args.steps, name, start) if ranks.first else steps:
        optimizer.scale_lr(checkpoint.trapezoid(step, args.steps))
        rows = batch_indices(count, args.batch, step, args.seed, chances)[mine]
        loss = loss_of(step, rows, np.random.default_rng([args.seed, step, ranks.rank]))
        loss.backward()
        if args.average_every == 1:
            ranks.average_gradients(params)
        norm = torch.nn.utils.clip_grad_norm_(params, 1.0)
        if torch.isfinite(norm):
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if args.average_every > 1 and ((step + 1) % args.average_every == 0 or step + 1 == steps.stop):
            ranks.average_weights(params)
        ema.update(model)
        mean_loss += (loss.item() - mean_loss) / min(step - start + 1, 50)
        if ranks.first and (step + 1) % 50 == 0:
            log.write(step=step + 1, loss=mean_loss, grad=float(norm))
        if ranks.first and (time.time() - saved > args.save_every or step + 1 == steps.stop):
            checkpoint.save(path, {"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                                   "ema": ema.state(), "step": step + 1})  # fmt: skip
            saved = time.time()
    return ema


def add_options(p: argparse.ArgumentParser, *, steps: int) -> None:
    """What every denoiser's training can be told."""
    p.add_argument("--data", type=Path, default=Path("out/demo_model/data"))
    p.add_argument("--out", type=Path, default=Path("out/demo_model/run"), help="the folder train_vae wrote to")
    p.add_argument("--limit", type=int, help="use only the first so many pictures")
    p.add_argument("--steps", type=int, default=steps)
    p.add_argument("--until", type=int, help="stop after this step of a run of --steps (default: its end)")
    p.add_argument("--batch", type=int, default=32, help="over all processes")
    p.add_argument("--lr", type=float, default=0.01)
    p.add_argument("--ema", type=float, default=0.998)
    p.add_argument("--cubes", type=float, help="share of cube scenes in a batch, 0 to 1 (default: as drawn)")
    p.add_argument("--glasses", type=float, help="share of portraits with glasses, 0 to 1 (default: as drawn)")
    p.add_argument("--faces", type=float, default=1.0, help="loss weight of the face's cells (others: 1)")
    p.add_argument("--lean", type=float, default=0.0, metavar="POWER",
                   help="noise levels of cube scenes have a density proportional to t^POWER; 0: even")
    p.add_argument("--processes", type=int, default=1, help="one-thread processes that share the batch")
    p.add_argument("--average-every", type=int, default=1,
                   help="1: the processes average gradients; more: their weights every so many steps (busy cores)")
    p.add_argument("--device", default="cpu", help="cpu, cuda or cuda:0 (one process)")
    p.add_argument("--fp32", action="store_true", help="no bfloat16: faster on a CPU that lacks it")
    p.add_argument("--save-every", type=float, default=120, help="seconds between checkpoints")
    p.add_argument("--finish", action="store_true", help="write out the last checkpoint, train no further")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--smoke", action="store_true", help="a few steps of a tiny model")


def start(args: argparse.Namespace, train: Callable[[argparse.Namespace, Ranks], None], name: str) -> None:
    """Runs `train` in as many processes as asked for. Raises SystemExit where the autoencoder is missing."""
    if args.smoke:
        args.steps, args.batch, args.size = 3, 4, "tiny"
    if args.device == "cpu":
        torch.set_num_threads(1)
    if not (args.out / "vae").exists():
        raise SystemExit(f"no autoencoder in {args.out / 'vae'}: run python -m tools.demo_model.train_vae first")
    if args.finish:
        args.steps = checkpoint.reached(args.out / f"{name}.pt")
    launch(train, args, args.processes)
