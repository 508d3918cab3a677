"""Trains the miniature prior: `python -m tools.demo_model.train_prior --out models/demo/retrieval`.

Two stages as published (Gu et al. 2023, section 4): text to image first, then triplets mixed with text to image
and mask tasks; each condition is dropped in 10 % of the rows. The encoders stay as they are, so every picture and
text is encoded once, and a step costs a few tenths of a second. The loss is the published one, the squared error of
the clean embedding. Guidance weights are chosen on the split "validation" and kept in the file.
Stops and resumes at any time.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sow_core.files import atomic_write
from sow_core.retrieval.checkpoint import RECOMMENDED
from sow_core.retrieval.demo_encoder import DemoEncoder
from sow_core.retrieval.demo_nets import TOKENS, WIDTH
from sow_core.retrieval.guidance import Guidance
from sow_core.retrieval.prior import PriorConfig, PriorNet
from sow_core.retrieval.priors import FILE
from sow_core.retrieval.sampler import alphas

from . import checkpoint
from .families import Member
from .family_data import CHANGES, Families
from .muon import Muon, split_parameters
from .progress import bar

MINIATURE = PriorConfig(width=WIDTH, depth=3, heads=4, head=32, cross_heads=4, text=WIDTH, mask=16, mult=2)
DROP = 0.1
TASKS = (0.7, 0.2, 0.1)
"""Shares of triplets, text to image, and masks in the second stage."""
VERSIONS = 2
"""Texts kept of every picture's caption; the first says everything."""
TOGETHER = 16
"""Families that are encoded at once."""
MASKED = 1
"""Masked views kept of every family's reference."""


@dataclass
class Encoded:
    """Everything that training looks at. Texts are rows of `states` [K, 48, 128]; pictures are embeddings."""

    pictures: Tensor
    """[N, 1 + changes, 128]"""
    masked: Tensor
    """[N, MASKED, 128] the references with a part hidden"""
    cells: Tensor
    """[N, MASKED, 16, 16]"""
    states: Tensor
    captions: Tensor
    """[N, 1 + changes, VERSIONS] rows of `states`"""
    instructions: Tensor
    """[N, 1 + changes], 0 (the empty text) where there is none"""


def hidden_part(rng: np.random.Generator) -> Image.Image:
    """A mask as somebody would draw it: a box or an ellipse, white = ignore."""
    y, x = np.mgrid[0:128, 0:128]
    cx, cy = rng.uniform(20, 108, 2)
    rx, ry = rng.uniform(12, 44, 2)
    round_ = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
    box = (abs(x - cx) < rx) & (abs(y - cy) < ry)
    return Image.fromarray(np.where(round_ if rng.random() < 0.5 else box, 255, 0).astype(np.uint8))


def encode(data: Families, encoder: DemoEncoder, seed: int, file: Path) -> Encoded:
    """Made once and kept in `file`."""
    made = checkpoint.load(file)
    if made is not None and made["encoder"] == encoder.identity and made["count"] == len(data):
        return Encoded(**{k: v for k, v in made.items() if k not in ("encoder", "count")})
    texts: dict[str, int] = {"": 0}

    def row(text: str) -> int:
        return texts.setdefault(text, len(texts))

    pictures, masked, cells, captions, instructions = [], [], [], [], []
    for first in bar(range(0, len(data), TOGETHER), -(-len(data) // TOGETHER), "encoding"):
        shots: list[Image.Image] = []
        masks: list[Image.Image | None] = []
        for i in range(first, min(first + TOGETHER, len(data))):
            rng = np.random.default_rng([seed, i])
            family = [Image.fromarray(p) for p in data.images[i]]
            hidden = [hidden_part(rng) for _ in range(MASKED)]
            shots += [*family, *[family[0]] * MASKED]
            masks += [*[None] * len(family), *hidden]
            cells.append(torch.stack([encoder.cells(h, MINIATURE.mask) for h in hidden]).bool())
            captions.append([[row(t) for t in _captions(m, rng)] for m in data.members[i]])
            instructions.append([row(m.instruction) for m in data.members[i]])
        rows = encoder.pictures(shots, masks).half().unflatten(0, (-1, 1 + CHANGES + MASKED))
        pictures.append(rows[:, : 1 + CHANGES])
        masked.append(rows[:, 1 + CHANGES :])
    states = []
    listed = list(texts)
    for at in bar(range(0, len(listed), 64), title="texts"):
        found = encoder._text(listed[at : at + 64])[1].half()
        states.append(torch.nn.functional.pad(found, (0, 0, 0, TOKENS - found.shape[1])))
    result = Encoded(torch.cat(pictures), torch.cat(masked), torch.stack(cells), torch.cat(states),
                     torch.tensor(captions), torch.tensor(instructions))  # fmt: skip
    checkpoint.save(file, {**vars(result), "encoder": encoder.identity, "count": len(data)})
    return result


def _captions(member: Member, rng: np.random.Generator) -> list[str]:
    return [member.caption(), *(member.caption(rng) for _ in range(VERSIONS - 1))]


def batch(data: Encoded, size: int, second: bool, rng: np.random.Generator) -> dict[str, Tensor]:
    """Targets [B, 128] and the conditions of a step, some of them dropped."""
    n = rng.integers(len(data.pictures), size=size)
    m = rng.integers(1 + CHANGES, size=size)
    task = rng.choice(3, size=size, p=TASKS) if second else np.ones(size, np.int64)
    m = np.where((task == 0) & (m == 0), 1 + rng.integers(CHANGES, size=size), m)
    m = np.where(task == 2, 0, m)
    version, view = rng.integers(VERSIONS, size=size), rng.integers(MASKED, size=size)
    target = data.pictures[n, m].float()
    image = torch.where(torch.from_numpy(task == 2)[:, None], data.masked[n, view].float(), data.pictures[n, 0].float())
    words = np.where(task == 0, data.instructions[n, m], data.captions[n, m, version])
    image[torch.from_numpy((task == 1) | (rng.random(size) < DROP))] = 0
    words = np.where(rng.random(size) < DROP, 0, words)
    cells = data.cells[n, view].float()
    cells[torch.from_numpy((task != 2) | (rng.random(size) < DROP))] = 0
    return {"target": target, "image": image, "text": data.states[words].float(), "mask": cells}


def train(args: argparse.Namespace, data: Encoded) -> PriorNet:
    torch.manual_seed(args.seed)
    network = PriorNet(MINIATURE).train()
    matrices, others = split_parameters(
        network.named_parameters(), ("to_text", "to_time", "to_mask", "project_out", "rel_pos", "null_kv")
    )
    optimizer = Muon(matrices, others, lr=args.lr, adam_lr=0.1 * args.lr, weight_decay=0.05)
    average = checkpoint.Ema(network, 0.998)
    path, log, start = args.run / "prior.pt", checkpoint.Log(args.run / "prior.log"), 0
    if state := checkpoint.load(path):
        network.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.load_state(state["average"])
        start = state["step"]
    total, _ = alphas(MINIATURE.timesteps)
    saved, mean = time.time(), 0.0
    for step in bar(range(start, args.steps), args.steps, "prior", start):
        optimizer.scale_lr(checkpoint.trapezoid(step, args.steps, decay=0.5))
        rng = np.random.default_rng([args.seed, step])
        b = batch(data, args.batch, step >= args.first, rng)
        times = torch.from_numpy(rng.integers(MINIATURE.timesteps, size=args.batch))
        a = total[times][:, None]
        noise = torch.from_numpy(rng.standard_normal(b["target"].shape, np.float32))
        noisy = a.sqrt() * b["target"] + (1 - a).sqrt() * noise
        guess = network(noisy, times, b["text"], b["image"], b["mask"])
        loss = (guess - b["target"]).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(network)
        mean += (loss.item() - mean) / min(step - start + 1, 100)
        if (step + 1) % 100 == 0:
            log.write(step=step + 1, loss=mean)
        if time.time() - saved > 60 or step + 1 == args.steps:
            checkpoint.save(path, {"model": network.state_dict(), "optimizer": optimizer.state_dict(),
                                   "average": average.state(), "step": step + 1})  # fmt: skip
            saved = time.time()
    average.copy_to(network)
    return network.eval()


def save(network: PriorNet, guidance: Guidance, encoder: str, out: Path) -> None:
    """float16 safetensors in the published layout, with the guidance that validation chose."""
    from safetensors.torch import save as to_bytes

    chosen = {k: getattr(guidance, k) for k in ("image", "text", "steps", "samples")}
    state = {f"model.net.{k}": v.half().contiguous() for k, v in network.state_dict().items()}
    text = json.dumps({"guidance": chosen, "encoder": encoder})
    out.mkdir(parents=True, exist_ok=True)
    atomic_write(out / FILE, to_bytes(state, {RECOMMENDED: text}))


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m tools.demo_model.train_prior", description=__doc__)
    p.add_argument("--out", type=Path, default=Path("models/demo/retrieval"), help="the encoders are here already")
    p.add_argument("--run", type=Path, default=Path("out/demo_model/retrieval"), help="checkpoints and logs")
    p.add_argument("--data", type=Path, default=Path("out/demo_model/families"))
    p.add_argument("--families", type=int, default=12_000)
    p.add_argument("--steps", type=int, default=6_000)
    p.add_argument("--first", type=int, default=1_500, help="steps of the first stage, text to image")
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--lr", type=float, default=0.01)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--smoke", action="store_true", help="a few steps")
    return p


def main(argv: list[str] | None = None) -> None:
    from .choose_guidance import choose

    args = parser().parse_args(argv)
    if args.smoke:
        args.families, args.steps, args.first, args.batch = 24, 4, 2, 8
    torch.set_num_threads(1)
    encoder = DemoEncoder(Path("models/demo"), file=args.out / "encoders.safetensors")
    families = Families(args.data, "train", args.families, args.workers)
    network = train(args, encode(families, encoder, args.seed, args.run / "encoded.pt"))
    guidance = choose(network, encoder, 8 if args.smoke else 60)
    save(network, guidance, encoder.identity, args.out)
    print(args.out / FILE, guidance)


if __name__ == "__main__":
    main()
