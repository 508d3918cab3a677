"""Is the outline broken? A small net that looks at the kept face's surroundings and at its mask.

A picture has failed if no body is joined below the kept face ("no_body": the paper's truncated outline) or if the
face's border shows ("seam_visible"); where there are judges, also if there is a second face beside the kept one. The
net is trained on pictures broken on purpose (`broken`, validation seeds), as drawn, softened, and through an
autoencoder; `validate` says how often it errs on held-out seeds, by kind.

    python -m benchmarks.quality.failure        trains it again (five minutes) and prints the validation
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from tools.demo_model.judge_data import augment
from tools.demo_model.judge_nets import Residual, conv, pool
from tools.demo_model.world import HELD_OUT, VALIDATION

from .broken import KINDS, Specimen, specimens

FILE = Path(__file__).with_name("failure.safetensors")
FIT_SEEDS = range(VALIDATION[0] + 80_000, VALIDATION[0] + 81_300)
THRESHOLD_SEEDS = range(VALIDATION[0] + 85_000, VALIDATION[0] + 85_080)
TEST_SEEDS = range(HELD_OUT[0] + 280_000, HELD_OUT[0] + 280_120)
CROP, DOWN = 80, 8
"""px of a 128-px picture around the face; the crop's middle lies DOWN px under the face's, to see the shoulders."""
STEPS, BATCH, RATE = 2400, 32, 3e-3
VERDICTS = ("no_body", "seam_visible")
FALSE_ALARMS, MIN_SOUND = 0.05, 10
"""Of good pictures through an autoencoder, for each verdict: where the thresholds are set. Fewest of a model's own."""
Face = tuple[float, float, float, float]
Change = Callable[[Tensor], Tensor]
"""Pictures [N,3,128,128] in 0..1 to pictures: what a generator's decoder does to them."""


class FailureNet(nn.Module):
    """Crops [N,4,80,80] (RGB in -1..1, mask) to log odds [N,2] of no_body and seam_visible."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(4, 24, 2), conv(24, 32, 1), conv(32, 48, 2), Residual(48), conv(48, 64, 2),
                                  Residual(64))  # fmt: skip
        self.out = nn.Linear(128, 2)
        self.register_buffer("threshold", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(pool(self.body(x)))

    def verdicts(self, x: Tensor) -> Tensor:
        """[N,2] of bool: no_body, seam_visible."""
        return self(x) > self.threshold


class FailureJudge:
    """The trained net. Raises FileNotFoundError if it has not been trained."""

    def __init__(self, file: Path = FILE) -> None:
        from safetensors.torch import load_file

        if not file.is_file():
            raise FileNotFoundError(f"no {file.name}: make it with python -m benchmarks.quality.failure")
        self.net = FailureNet()
        self.net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in load_file(file).items()})
        self.net.eval()
        self.digest = _digest(file)

    @torch.no_grad()
    def judge(self, images: Tensor, masks: Tensor, faces: Sequence[Face]) -> list[dict[str, float]]:
        """Log odds of "no_body" and "seam_visible", to be held against thresholds.

        images [N,3,128,128] in 0..1, masks [N,128,128] of the kept region, faces: x0, y0, x1, y1 in px.
        """
        odds = self.net(crops(images, masks, faces)).tolist()
        return [{k: round(v, 4) for k, v in zip(VERDICTS, row, strict=True)} for row in odds]

    def thresholds(self, images: Tensor, faces: Sequence[Face]) -> dict[str, float]:
        """Thresholds for a model, from sound pictures of its own with the faces found in them.

        At least the net's own; higher where it would call more than FALSE_ALARMS of the pictures broken. Too few
        pictures (below MIN_SOUND) leave the net's own.
        """
        own = dict(zip(VERDICTS, self.net.threshold.tolist(), strict=True))
        if len(images) < MIN_SOUND:
            return own
        masks = torch.stack([ellipse(face, images.shape[-1]) for face in faces])
        odds = self.judge(images, masks, faces)
        found = {k: float(torch.tensor([o[k] for o in odds]).quantile(1 - FALSE_ALARMS)) for k in VERDICTS}
        return {k: max(own[k], found[k]) for k in VERDICTS}


def ellipse(face: Face, size: int) -> Tensor:
    """The mask [size, size] of a face of which only the box is known."""
    x0, y0, x1, y1 = face
    ys, xs = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    across, down = (xs - (x0 + x1) / 2) / ((x1 - x0) * 0.46), (ys - (y0 + y1) / 2) / ((y1 - y0) * 0.45)
    return (across.square() + down.square() < 1).float()


def crops(images: Tensor, masks: Tensor, faces: Sequence[Face]) -> Tensor:
    """Windows of CROP px around the faces, unscaled; outside of the picture its edge goes on."""
    stacked = torch.cat([images * 2 - 1, masks[:, None].float()], dim=1)
    pad = CROP // 2
    wide = F.pad(stacked, (pad,) * 4, mode="replicate")
    made = []
    for n, (x0, y0, x1, y1) in enumerate(faces):
        x = min(max(round((x0 + x1) / 2), 0), images.shape[-1])
        y = min(max(round((y0 + y1) / 2) + DOWN, 0), images.shape[-2])
        made.append(wide[n, :, y : y + CROP, x : x + CROP])
    return torch.stack(made)


def specimen_crops(sets: Sequence[Specimen], change: Change | None = None) -> Tensor:
    """The net's inputs of specimens; `change` alters the pictures before."""
    made = []
    for start in range(0, len(sets), 64):
        part = sets[start : start + 64]
        images = torch.from_numpy(np.stack([s.image for s in part])).permute(0, 3, 1, 2).float() / 255
        masks = torch.from_numpy(np.stack([s.mask for s in part]))
        made.append(crops(change(images) if change else images, masks, [s.face for s in part]))
    return torch.cat(made)


def soften(seed: int) -> Change:
    """Softer, noisier, colours a little off, drawn by lot."""
    rng = np.random.default_rng(seed)
    return lambda images: ((augment(images * 2 - 1, rng) + 1) / 2).clamp(0, 1)


def train(parts: Sequence[tuple[Change | None, Sequence[int]]], steps: int = STEPS) -> FailureNet:
    """A net for specimens of some seeds each, as each change makes them."""
    sets: list[Specimen] = []
    inputs: list[Tensor] = []
    for change, seeds in parts:
        made = [s for seed in tqdm(seeds, "draw") for s in specimens(seed)]
        sets += made
        inputs.append(specimen_crops(made, change).half())
    pictures = torch.cat(inputs)
    targets = torch.tensor([[s.no_body, s.seam] for s in sets]).float()
    good = torch.tensor([s.kind == "good" for s in sets]).float()
    chance = 1 + good * (len(KINDS) / 2 - 1)  # as many good ones as bad ones would be too many; a third of them
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = FailureNet().train()
        optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.05)
        plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
        for _ in tqdm(range(steps), "failure"):
            rows = torch.multinomial(chance, BATCH)
            x = pictures[rows].float()
            if torch.rand(()) < 0.5:
                x = x.flip(-1)
            loss = F.binary_cross_entropy_with_logits(net(x), targets[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            plan.step()
    return net.eval()


@torch.no_grad()
def set_thresholds(net: FailureNet, change: Change, seeds: Sequence[int] = THRESHOLD_SEEDS) -> None:
    """So that no more than FALSE_ALARMS of good pictures of other seeds are called broken, by either verdict."""
    good = [s for seed in seeds for s in specimens(seed) if s.kind == "good"]
    net.threshold.copy_(net(specimen_crops(good, change)).quantile(1 - FALSE_ALARMS, dim=0).clamp(min=0.0))


@torch.no_grad()
def validate(net: FailureNet, change: Change | None, seeds: Sequence[int] = TEST_SEEDS) -> dict[str, float]:
    """Share of held-out specimens called failed, by kind: small for "good", near 1 for the others."""
    sets = [s for seed in seeds for s in specimens(seed)]
    failed = torch.cat([net.verdicts(x) for x in specimen_crops(sets, change).split(64)]).any(dim=1)
    kinds = np.array([s.kind for s in sets])
    return {kind: round(float(failed[torch.from_numpy(kinds == kind)].float().mean()), 4) for kind in KINDS}


def _digest(file: Path) -> str:
    import hashlib

    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def through(model: str) -> Change:
    """A model's autoencoder, there and back."""
    from sow_core.backends.diffusers import DiffusersBackend

    backend = DiffusersBackend.load(model)
    return lambda images: backend.decode(backend.encode(images))


def main(argv: Sequence[str] | None = None) -> None:
    from safetensors.torch import save_file

    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.failure", description=__doc__)
    parser.add_argument("--model", default="demo", help="whose autoencoder the pictures also go through")
    parser.add_argument("--out", type=Path, default=FILE)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    decoded = through(args.model)
    net = train([(None, FIT_SEEDS[:400]), (soften(5), FIT_SEEDS[400:800]), (decoded, FIT_SEEDS[800:])])
    set_thresholds(net, decoded)
    save_file({k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}, args.out)
    scores = {"drawn": validate(net, None), "decoded": validate(net, decoded)}
    args.out.with_suffix(".json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
