"""Trains the flow transformer: `python -m tools.demo_model.train_flow --data DATA --out RUN --text models/demo`.

Needs RUN/vae (from train_vae, or copied from the demo model). Rectified flow: z_t = (1 - t) z + t eps, the answer is
eps - z; logit-normal times with three in ten even, 10 % empty captions, captions drawn anew for every picture and step,
EMA. The text encoder is the demo model's, frozen. While the learning rate is at its height captions are padded to
--short tokens, then to the host's 77. Stops and resumes at any step; RUN/transformer holds the result.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import checkpoint, emphasis, flow, tokenizer
from .data import DataSet
from .loop import add_options, fit, start
from .parallel import Ranks
from .train_unet import captions, encode_all, stratified

ENDS = ("pos_embed", "context_embedder", "time_text_embed", "norm_out", "proj_out")
UNIFORM = 0.3
"""Share of the times that are even instead of logit-normal."""


def train(args: argparse.Namespace, ranks: Ranks) -> None:
    torch.manual_seed(args.seed)
    data, device = DataSet(args.data), args.device
    latents = encode_all(data, args, ranks)
    model = flow.build(flow.SIZES[args.size], latents.shape[-1]).to(device).train()
    words = flow.Words(args.text).to(device)
    net = torch.compile(model) if args.compile else model
    falling = sum(checkpoint.trapezoid(s, args.steps, warmup=1) == 1 for s in range(args.steps))

    def loss_of(step: int, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        truths = [data.truths[i] for i in rows]
        texts = captions(truths, rng)
        z = torch.from_numpy(np.asarray(latents[rows], np.float32)).to(device)
        noise = torch.from_numpy(rng.standard_normal(z.shape, np.float32)).to(device)
        even, scenes = stratified(rng, truths)
        even = np.where(scenes, even ** (1 / (1 + args.lean)), even)
        t = torch.from_numpy(flow.times(even, rng.random(len(rows)) < UNIFORM)).to(device)
        share = t.view(-1, 1, 1, 1)
        with checkpoint.bf16_autocast(device, not args.fp32):
            states, pooled = words(texts, args.short if step < falling else tokenizer.MAX_LENGTH)
            answer = net(
                hidden_states=(1 - share) * z + share * noise, encoder_hidden_states=states,
                pooled_projections=pooled, timestep=1000 * t, return_dict=False,
            )[0]  # fmt: skip
        error = (answer.float() - (noise - z)).square().mean(1)
        return emphasis.weighted(error, truths, args.faces).mean()

    chances = emphasis.draw_chances(data.truths[: len(latents)], args.cubes, args.glasses)
    ema = fit(args, ranks, model, "flow", ENDS, len(latents), chances, loss_of)
    if ranks.first:
        ema.copy_to(model)
        model.eval().save_pretrained(args.out / "transformer")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m tools.demo_model.train_flow", description=__doc__)
    add_options(p, steps=12_000)
    p.add_argument("--text", type=Path, default=Path("models/demo"), help="whose tokenizer and text encoder are read")
    p.add_argument("--size", choices=sorted(flow.SIZES), default="cpu")
    p.add_argument("--short", type=int, default=48, metavar="TOKENS", help="length of the captions at first")
    p.add_argument("--compile", action="store_true", help="torch.compile the transformer (needs a C++ compiler)")
    return p


def main(argv: list[str] | None = None) -> None:
    start(parser().parse_args(argv), train, "flow")


if __name__ == "__main__":
    main()
