"""Trains the judges: `python -m tools.demo_model.train_judges --out models/demo/judges`.

Clean renders of the split "judge", made softer, noisier and paler in training; with --vae half of a picture's
copies have also been through that autoencoder, since the pictures to be judged come out of one. Scores on
held-out renders go to OUT/scores.json (`judge_scores`). Every net resumes from its own checkpoint in RUN.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import checkpoint, judge_data, judge_scores, train_vae
from . import judge_nets as nets
from .cubes import SHAPES
from .data import batch_indices
from .judge_data import HEADS
from .judges import FILE, Judges
from .muon import Muon, split_parameters
from .progress import bar


def class_loss(out: dict[str, Tensor], labels: Tensor) -> Tensor:
    """Mean cross entropy over the attributes that can be told (label >= 0)."""
    names = list(HEADS)
    terms = []
    for name, logits in out.items():
        target = labels[:, names.index(name)]
        if (target >= 0).any():
            terms.append(F.cross_entropy(logits, target, ignore_index=-1, label_smoothing=0.02))
    return torch.stack(terms).mean() if terms else labels.new_zeros((), dtype=torch.float32)


def grid_loss(out: Tensor, target: Tensor) -> Tensor:
    """Presence (centre cells weighted 20-fold, neighbours ignored), distances, and classes if there are any."""
    heat = target[:, 0]
    care = (heat >= 0).float() * (1 + 19 * (heat > 0))
    loss = F.binary_cross_entropy_with_logits(out[:, 0], heat.clamp(min=0), care)
    on = target[:, 5] > 0
    if on.any():
        cells, truth = out.movedim(1, -1)[on], target.movedim(1, -1)[on]
        loss = loss + 0.5 * F.smooth_l1_loss(cells[:, 1:5], truth[:, 1:5], beta=0.2)
        if target.shape[1] > 6:
            shape, color = cells[:, 5 : 5 + len(SHAPES)], cells[:, 5 + len(SHAPES) :]
            a, b = truth[:, 6].long(), truth[:, 7].long()
            loss = loss + 0.5 * (F.cross_entropy(shape, a) + F.cross_entropy(color, b))
    return loss


def contrast(z: Tensor, who: Tensor, temperature: float = 0.1) -> Tensor:
    """Supervised contrastive loss (Khosla et al. 2020, Eq. 2) of unit vectors [B,D]."""
    sim = z @ z.T / temperature
    me = torch.eye(len(z), dtype=torch.bool, device=z.device)
    logp = sim - torch.logsumexp(sim.masked_fill(me, -1e9), 1, keepdim=True)
    same = (who[:, None] == who[None]) & ~me
    return -(logp * same).sum(1).div(same.sum(1).clamp(min=1)).mean()


class Job:
    """One net's training loop with checkpoints."""

    def __init__(self, name: str, net: nn.Module, args: argparse.Namespace, steps: int):
        self.name, self.net, self.steps, self.args = name, net.train(), steps, args
        matrices, others = split_parameters(net.named_parameters(), ("body.0.0", "trunk.0.0", "heads", "out."))
        self.optimizer = Muon(matrices, others, lr=args.lr, adam_lr=0.3 * args.lr, weight_decay=0.1)
        self.path, self.start, self.saved = args.run / f"{name}.pt", 0, time.time()
        self.log = checkpoint.Log(args.run / f"{name}.log")
        if state := checkpoint.load(self.path):
            net.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.start = state["step"]

    def run(self, loss_of) -> nn.Module:  # noqa: ANN001 - (step, rng) -> loss
        mean = 0.0
        for step in bar(range(self.start, self.steps), self.steps, self.name, self.start):
            self.optimizer.scale_lr(checkpoint.trapezoid(step, self.steps, decay=0.6))
            with checkpoint.bf16_autocast(self.args.device, not self.args.fp32):
                loss = loss_of(step, np.random.default_rng([self.args.seed, step]))
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            mean += (loss.item() - mean) / min(step - self.start + 1, 50)
            if (step + 1) % 50 == 0:
                self.log.write(step=step + 1, loss=mean)
            if time.time() - self.saved > 60 or step + 1 == self.steps:
                checkpoint.save(self.path, {"model": self.net.state_dict(), "optimizer": self.optimizer.state_dict(),
                                            "step": step + 1})  # fmt: skip
                self.saved = time.time()
        return self.net.eval()


def soften(images: np.ndarray, vae_folder: Path | None, count: int, device: str) -> dict[int, np.ndarray]:
    """The first `count` pictures after a pass through the autoencoder, by index."""
    if vae_folder is None or count == 0:
        return {}
    vae = train_vae.load(vae_folder).to(device, memory_format=torch.channels_last).eval()
    out: dict[int, np.ndarray] = {}
    with torch.no_grad(), checkpoint.bf16_autocast(device, device == "cpu"):
        for i in bar(range(0, count, 32), title="autoencoder"):
            x = checkpoint.to_tensor(np.asarray(images[i : i + 32]), device)
            y = vae.decode(vae.encode(x).latent_dist.mean).sample.float().clamp(-1, 1)
            y8 = ((y + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
            out.update((i + k, y8[k]) for k in range(len(y8)))
    return out


def train(args: argparse.Namespace) -> Judges:
    torch.manual_seed(args.seed)
    device = args.device
    pics = judge_data.pictures("judge", args.pictures, args.workers)
    soft = soften(pics.images, args.vae, min(args.soft, args.pictures), device)

    def batch(rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        raw = [soft[r] if r in soft and rng.random() < 0.5 else pics.images[r] for r in rows]
        return judge_data.augment(checkpoint.to_tensor(np.stack(raw), "cpu"), rng).to(device)

    scene, head, identity = nets.SceneNet().to(device), nets.HeadNet().to(device), nets.IdentityNet().to(device)

    def scene_loss(step: int, rng: np.random.Generator) -> Tensor:
        rows = batch_indices(len(pics.images), args.batch, step, args.seed)
        classes, face, things = scene(batch(rows, rng))
        a, b = judge_data.grid_targets(pics, rows)
        labels = pics.labels[rows].to(device)
        return class_loss(classes, labels) + grid_loss(face, a.to(device)) + grid_loss(things, b.to(device))

    faces = np.array([i for i, f in enumerate(pics.faces) if f])
    face_boxes = torch.tensor([pics.faces[i] for i in faces])

    def head_loss(step: int, rng: np.random.Generator) -> Tensor:
        at = batch_indices(len(faces), args.batch, step, args.seed + 1)
        x = batch(faces[at], rng)
        boxes = judge_data.jitter(face_boxes[at], rng).to(device)
        return class_loss(head(nets.crop(x, boxes, nets.HEAD_GROW, nets.HEAD_CROP)), pics.labels[faces[at]].to(device))

    Job("scene", scene, args, args.steps).run(scene_loss)
    Job("head", head, args, args.steps).run(head_loss)

    views = 4
    images, boxes = judge_data.people("judge", args.people, views, args.workers)

    def identity_loss(step: int, rng: np.random.Generator) -> Tensor:
        rows = batch_indices(len(images), args.batch // 2, step, args.seed + 2)
        pick = np.stack([rng.permutation(views)[:3] for _ in rows])
        raw = np.concatenate([images[r][v] for r, v in zip(rows, pick, strict=True)])
        at = torch.cat([boxes[r][torch.from_numpy(v)] for r, v in zip(rows, pick, strict=True)])
        x = judge_data.augment(checkpoint.to_tensor(raw, "cpu"), rng).to(device)
        z = identity(nets.crop(x, judge_data.jitter(at, rng, 0.03).to(device), nets.FACE_GROW, nets.FACE_CROP)).float()
        return contrast(z, torch.arange(len(rows), device=device).repeat_interleave(3))

    Job("identity", identity, args, args.steps).run(identity_loss)
    return Judges(scene, head, identity)


def save(judges: Judges, out: Path) -> None:
    """float16 safetensors."""
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    state = {
        f"{name}.{k}": (v.half() if v.is_floating_point() else v).contiguous().cpu()
        for name, net in (("scene", judges.scene), ("head", judges.head), ("identity", judges.face))
        for k, v in net.state_dict().items()
    }
    save_file(state, out / FILE)


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m tools.demo_model.train_judges", description=__doc__)
    p.add_argument("--out", type=Path, default=Path("models/demo/judges"))
    p.add_argument("--run", type=Path, default=Path("out/demo_model/judges"), help="checkpoints and logs")
    p.add_argument("--vae", type=Path, help="an autoencoder folder to soften pictures with")
    p.add_argument("--pictures", type=int, default=20_000)
    p.add_argument("--soft", type=int, default=4_000, help="pictures that also go through the autoencoder")
    p.add_argument("--people", type=int, default=5_000)
    p.add_argument("--steps", type=int, default=1_800, help="of each net")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--lr", type=float, default=0.02)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--device", default="cpu")
    p.add_argument("--fp32", action="store_true", help="no bfloat16")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--smoke", action="store_true", help="a few steps")
    return p


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    if args.smoke:
        args.pictures, args.people, args.steps, args.batch, args.soft = 64, 16, 2, 16, 0
    if args.device == "cpu":
        torch.set_num_threads(1)
    save(train(args), args.out)
    judges = Judges.load(args.out, args.device)
    scores = judge_scores.score(judges, 64 if args.smoke else 2000, 16 if args.smoke else 400)
    checkpoint.write_text(args.out / "scores.json", json.dumps(scores, indent=1) + "\n")
    print(judge_scores.table(scores))


if __name__ == "__main__":
    main()
