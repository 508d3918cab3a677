"""Trains the demo world's match: `python -m tools.demo_model.train_match --out models/demo/match`.

InfoNCE over (picture, instruction, picture after) triplets: the right picture against those of the other triplets of
the batch and against three that differ from it in the edit alone. Minutes on a CPU; stops and resumes. Scores on
held-out triplets go to OUT/scores.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sow_core.turns.match_net import FILE, SIDE, DemoMatch, MatchNet, encode_words, split_words

from . import checkpoint, judge_data
from .edits import SEEDS, WRONG, Edit, sample_edit
from .progress import bar

GALLERY = 500


def vocabulary() -> list[str]:
    """Every word of many training instructions."""
    return sorted({w for s in range(600) for w in split_words(sample_edit_text(SEEDS["train"] + s))})


def sample_edit_text(seed: int) -> str:
    """The instruction of a seed. Drawing is cheap enough not to be kept apart."""
    return sample_edit(seed, SIDE).instruction


def load_batch(
    edits_: list[Edit], words: list[str], rng: np.random.Generator | None
) -> tuple[Tensor, Tensor, Tensor]:
    """before [B, 3, s, s], word numbers [B, L], after [B, 1 + WRONG, 3, s, s] with the right picture first."""
    stack = np.stack([np.stack([e.before, e.after, *e.wrong]) for e in edits_])
    x = checkpoint.to_tensor(stack.reshape(-1, *stack.shape[2:]), "cpu")
    if rng is not None:
        x = judge_data.augment(x, rng)
    x = ((x + 1) / 2).clamp(0, 1).view(len(edits_), 2 + WRONG, *x.shape[1:])
    return x[:, 0], encode_words([e.instruction for e in edits_], words), x[:, 1:]


def loss_of(net: MatchNet, before: Tensor, ids: Tensor, after: Tensor) -> Tensor:
    """InfoNCE of the right pictures against all pictures of the batch."""
    count = len(before)
    query = net.query(before, ids)
    target = net.target(after.flatten(0, 1)).view(count, -1, query.shape[1])
    right, wrong = target[:, 0], target[:, 1:].flatten(0, 1)
    logits = net.scale * torch.cat([query @ right.T, query @ wrong.T], 1)
    return F.cross_entropy(logits, torch.arange(count))


def train(args: argparse.Namespace) -> DemoMatch:
    torch.manual_seed(args.seed)
    words = vocabulary() if not args.smoke else sorted(set(split_words(sample_edit_text(SEEDS["train"]))))
    net = MatchNet(len(words) + 1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=args.lr, weight_decay=0.02)
    args.run.mkdir(parents=True, exist_ok=True)
    path, log, start = args.run / "match.pt", checkpoint.Log(args.run / "match.log"), 0
    if state := checkpoint.load(path):
        net.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    net.train()
    saved, mean = time.time(), 0.0
    for step in bar(range(start, args.steps), args.steps, "match", start):
        for group in optimizer.param_groups:
            group["lr"] = args.lr * checkpoint.trapezoid(step, args.steps, decay=0.5)
        rows = [sample_edit(SEEDS["train"] + step * args.batch + n, SIDE) for n in range(args.batch)]
        loss = loss_of(net, *load_batch(rows, words, np.random.default_rng([args.seed, step])))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        mean += (loss.item() - mean) / min(step - start + 1, 50)
        if (step + 1) % 50 == 0:
            log.write(step=step + 1, loss=mean)
        if time.time() - saved > 60 or step + 1 == args.steps:
            state = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            checkpoint.save(path, state)
            saved = time.time()
    return DemoMatch(net, words)


@torch.no_grad()
def score(match: DemoMatch, split: str, count: int) -> dict[str, float]:
    """On triplets that nobody trained on: R@1 in a gallery of all their right pictures; the right picture before each
    of the three that differ in the edit alone, by kind of edit; and before all three."""
    net, queries, targets, first, kinds = match.net, [], [], [], []
    for i in range(0, count, 25):
        rows = [sample_edit(SEEDS[split] + n, SIDE) for n in range(i, min(i + 25, count))]
        before, ids, after = load_batch(rows, list(match.vocabulary), None)
        query, target = net.query(before, ids), net.target(after.flatten(0, 1)).view(len(rows), 1 + WRONG, -1)
        likeness = (target @ query[:, :, None])[:, :, 0]
        queries.append(query)
        targets.append(target[:, 0])
        first.append(likeness[:, :1] > likeness[:, 1:])
        kinds += [e.kind for e in rows]
    best = (torch.cat(queries) @ torch.cat(targets).T).argmax(1)
    wins = torch.cat(first).float()
    out = {"gallery": float(count), "recall_at_1": float((best == torch.arange(count)).float().mean()),
           "before_each": float(wins.mean()), "before_all": float(wins.min(1).values.mean())}  # fmt: skip
    for kind in sorted(set(kinds)):
        out[f"before_each_{kind}"] = float(wins[[k == kind for k in kinds]].mean())
    return {k: round(v, 4) for k, v in out.items()}


def save(match: DemoMatch, out: Path) -> None:
    """float16 safetensors with the vocabulary in its metadata."""
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    state = {
        k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in match.net.state_dict().items()
    }
    save_file(state, out / FILE, {"words": json.dumps(match.vocabulary)})


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m tools.demo_model.train_match", description=__doc__)
    p.add_argument("--out", type=Path, default=Path("models/demo/match"))
    p.add_argument("--run", type=Path, default=Path("out/demo_model/match"), help="checkpoint and log")
    p.add_argument("--steps", type=int, default=1500)
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--count", type=int, default=GALLERY, help="held-out triplets to score on")
    p.add_argument("--split", choices=("val", "test"), default="test")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--smoke", action="store_true", help="a few steps")
    return p


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    if args.smoke:
        args.steps, args.batch, args.count = 2, 4, 8
    torch.set_num_threads(1)
    save(train(args), args.out)
    scores = {"steps": args.steps, "split": args.split} | score(
        DemoMatch.load(args.out), args.split, args.count
    )
    checkpoint.write_text(args.out / "scores.json", json.dumps(scores, indent=1) + "\n")
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
