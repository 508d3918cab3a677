"""Trains the demo world's encoders: `python -m tools.demo_model.train_encoders --out models/demo/retrieval`.

CLIP's loss (Radford et al. 2021) on families of the split "train": a batch holds two pictures of every family,
which differ in one thing only, so that the space has to tell such pictures apart. Half of the captions say
everything; where parts are left out, two pictures of a family may share a caption, and are no negatives of each
other. Some texts are instructions alone ("wearing a crown"), as a search gives them.
Stops and resumes at any time.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sow_core.files import atomic_write
from sow_core.retrieval.demo_nets import TOKENS, PictureNet, TextNet

from . import checkpoint
from .data import batch_indices
from .family_data import CHANGES, Families
from .muon import Muon, split_parameters
from .progress import bar

FILE = "encoders.safetensors"
TOKENIZER = Path("models/demo/tokenizer")
FULL, INSTRUCTION = 0.55, 0.15
"""Shares of the texts that say everything, and that are instructions alone."""
HIDDEN = 0.1
"""Share of the pictures with a part blackened, as a search with a mask blackens it."""


class Words:
    """Texts to tokens [N, T] and lengths [N], T the longest of them."""

    def __init__(self, folder: Path):
        from transformers import CLIPTokenizer

        self.tokenizer = CLIPTokenizer.from_pretrained(folder)

    def __call__(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        made = self.tokenizer(texts, padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
        return made["input_ids"], made["attention_mask"].sum(1)


class Pair(nn.Module):
    """Both encoders and the temperature of the loss."""

    def __init__(self, vocabulary: int):
        super().__init__()
        self.picture, self.text = PictureNet(), TextNet(vocabulary)
        self.temperature = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))

    def scale(self) -> Tensor:
        """Clamped to 100 as in CLIP."""
        return self.temperature.exp().clamp(max=100.0)


def loss_of(pair: Pair, images: Tensor, tokens: Tensor, lengths: Tensor, full: Tensor) -> tuple[Tensor, float]:
    """Mean of both directions' cross entropies, and how often the right text is the first. Rows 2i and 2i + 1 are
    a family; they are no negatives of each other where a text is not full."""
    a = F.normalize(pair.picture(images).float(), dim=1)
    b = F.normalize(pair.text(tokens, lengths)[0].float(), dim=1)
    logits = pair.scale() * a @ b.T
    rows = torch.arange(len(logits))
    sibling = rows[:, None] // 2 == rows[None] // 2
    free = sibling & ~torch.eye(len(rows), dtype=torch.bool) & ~full[None]
    logits = logits.masked_fill(free, -1e4)
    right = (logits.argmax(1) == rows).float().mean().item()
    return (F.cross_entropy(logits, rows) + F.cross_entropy(logits.T, rows)) / 2, right


def batch(data: Families, rows: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, list[str], Tensor]:
    """Two pictures of each family, their texts, and which texts say everything."""
    images, texts, full = [], [], []
    for r in rows:
        for m in rng.permutation(1 + CHANGES)[:2]:
            image, member = np.array(data.images[r, m]), data.members[r][m]
            lot = rng.random()
            full.append(lot < FULL)
            if lot < FULL:
                texts.append(member.caption())
            elif lot > 1 - INSTRUCTION and member.instruction and member.attribute not in ("remove", "recolor"):
                texts.append(member.instruction)
            else:
                texts.append(member.caption(rng))
            if rng.random() < HIDDEN:
                x, y = rng.integers(0, 100, 2)
                w, h = rng.integers(16, 72, 2)
                image[y : y + h, x : x + w] = 0
            images.append(image)
    return checkpoint.to_tensor(np.stack(images), "cpu"), texts, torch.tensor(full)


def train(args: argparse.Namespace) -> Pair:
    torch.manual_seed(args.seed)
    words = Words(TOKENIZER)
    data = Families(args.data, "train", args.families, args.workers)
    pair = Pair(len(words.tokenizer)).to(memory_format=torch.channels_last).train()
    matrices, others = split_parameters(pair.named_parameters(), ("body.0.0", "out.", "token", "place"))
    optimizer = Muon(matrices, others, lr=args.lr, adam_lr=0.15 * args.lr, weight_decay=0.05)
    path, log, start = args.run / "encoders.pt", checkpoint.Log(args.run / "encoders.log"), 0
    if state := checkpoint.load(path):
        pair.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    saved, mean, hits = time.time(), 0.0, 0.0
    for step in bar(range(start, args.steps), args.steps, "encoders", start):
        optimizer.scale_lr(checkpoint.trapezoid(step, args.steps, decay=0.5))
        rng = np.random.default_rng([args.seed, step])
        images, texts, full = batch(data, batch_indices(len(data), args.batch // 2, step, args.seed), rng)
        with checkpoint.bf16_autocast("cpu", not args.fp32):
            loss, right = loss_of(pair, images, *words(texts), full)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        weight = 1 / min(step - start + 1, 50)
        mean, hits = mean + (loss.item() - mean) * weight, hits + (right - hits) * weight
        if (step + 1) % 50 == 0:
            log.write(step=step + 1, loss=mean, right=hits, scale=pair.scale().item())
        if time.time() - saved > 60 or step + 1 == args.steps:
            checkpoint.save(path, {"model": pair.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1})
            saved = time.time()
    return pair.eval()


def save(pair: Pair, out: Path) -> None:
    """float16 safetensors, the temperature left out."""
    from safetensors.torch import save as to_bytes

    out.mkdir(parents=True, exist_ok=True)
    state = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in pair.state_dict().items()}
    atomic_write(out / FILE, to_bytes({k: v for k, v in state.items() if k != "temperature"}))


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m tools.demo_model.train_encoders", description=__doc__)
    p.add_argument("--out", type=Path, default=Path("models/demo/retrieval"))
    p.add_argument("--run", type=Path, default=Path("out/demo_model/retrieval"), help="checkpoints and logs")
    p.add_argument("--data", type=Path, default=Path("out/demo_model/families"), help="drawn once, used again")
    p.add_argument("--families", type=int, default=12_000)
    p.add_argument("--steps", type=int, default=1_600)
    p.add_argument("--batch", type=int, default=160, help="pictures, two of a family")
    p.add_argument("--lr", type=float, default=0.02)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--fp32", action="store_true", help="no bfloat16")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--smoke", action="store_true", help="a few steps")
    return p


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    if args.smoke:
        args.families, args.steps, args.batch = 24, 2, 16
    torch.set_num_threads(1)
    save(train(args), args.out)
    print(args.out / FILE)


if __name__ == "__main__":
    main()
