"""The judges' networks: small convolutional nets, about a million parameters together."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attributes import CHOICES
from .cubes import COLORS, SHAPES

CELL = 8
"""px of a 128 px picture per cell of the detectors' 16 x 16 grid."""
SCENE_HEADS = {k: len(CHOICES[k]) for k in ("style", "background", "clothes", "clothes_color")}
FACE_HEADS = {
    k: len(CHOICES[k])
    for k in ("gender", "skin", "face_shape", "hair_style", "hair_color", "eyes", "mouth", "glasses", "hat", "beard")
} | {"old": 2}
EMBEDDING = 64
HEAD_CROP, HEAD_GROW = 64, 1.95
"""The head net sees the face box grown by HEAD_GROW (hair and hat are in it), at HEAD_CROP px."""
FACE_CROP, FACE_GROW = 48, 1.12
"""The identity net sees little more than the face box itself."""


def conv(a: int, b: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True))


class Residual(nn.Module):
    def __init__(self, n: int):
        super().__init__()
        self.a, self.b, self.norm = conv(n, n), nn.Conv2d(n, n, 3, 1, 1, bias=False), nn.BatchNorm2d(n)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.b(self.a(x))))


def pool(x: Tensor) -> Tensor:
    """Mean and maximum over space, [B,C,h,w] to [B,2C]."""
    return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)


class SceneNet(nn.Module):
    """Whole picture [B,3,128,128] in -1..1: style, place, clothes; faces and objects on a 16 x 16 grid."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(conv(3, 16, 2), conv(16, 40, 2), conv(40, 56, 2), Residual(56), Residual(56))
        self.top = nn.Sequential(conv(56, 72, 2), Residual(72), conv(72, 88, 2))
        self.heads = nn.ModuleDict({k: nn.Linear(176, n) for k, n in SCENE_HEADS.items()})
        self.face = nn.Sequential(conv(56, 40), nn.Conv2d(40, 1 + 4, 1))
        self.things = nn.Sequential(conv(56, 48), nn.Conv2d(48, 1 + 4 + len(SHAPES) + len(COLORS), 1))

    def forward(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        grid = self.trunk(x)
        top = pool(self.top(grid))
        return {k: h(top) for k, h in self.heads.items()}, self.face(grid), self.things(grid)


class HeadNet(nn.Module):
    """A head [B,3,64,64]: what it looks like and wears."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(3, 20, 2), conv(20, 40, 2), Residual(40), conv(40, 64, 2), Residual(64), conv(64, 96, 2)
        )
        self.heads = nn.ModuleDict({k: nn.Linear(96 * 16, n) for k, n in FACE_HEADS.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.body(x).flatten(1)
        return {k: h(y) for k, h in self.heads.items()}


class IdentityNet(nn.Module):
    """A face [B,3,48,48] to a unit vector [B,64]; the cosine says how alike two faces are."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(3, 24, 2), conv(24, 40, 2), Residual(40), conv(40, 64, 2), Residual(64), conv(64, 72)
        )
        self.out = nn.Linear(72 * 9, EMBEDDING)

    def forward(self, x: Tensor) -> Tensor:
        y = F.avg_pool2d(self.body(x), 2).flatten(1)
        return F.normalize(self.out(y), dim=1)


def crop(images: Tensor, boxes: Tensor, grow: float, size: int) -> Tensor:
    """Square crops [B,3,size,size] around boxes [B,4] (x0, y0, x1, y1 in px of the pictures given); the side is
    `grow` times the box's mean side. Outside of the picture its edge goes on."""
    b, _, h, w = images.shape
    cx, cy = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    side = grow * (boxes[:, 2] - boxes[:, 0] + boxes[:, 3] - boxes[:, 1]) / 2
    theta = torch.zeros(b, 2, 3, device=images.device)
    theta[:, 0, 0], theta[:, 1, 1] = side / w, side / h
    theta[:, 0, 2], theta[:, 1, 2] = 2 * cx / w - 1, 2 * cy / h - 1
    grid = F.affine_grid(theta, [b, 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def peaks(heat: Tensor, threshold: float) -> Tensor:
    """Cells [B,h,w] (bool) that are at least `threshold` and the largest of their 3 x 3 neighbourhood."""
    top = F.max_pool2d(heat[:, None], 3, 1, 1)[:, 0]
    return (heat >= threshold) & (heat == top)


def decode_boxes(reg: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Distances [n,4] (left, top, right, bottom, in cells) at cells (rows, cols) to boxes in px of a 128 px
    picture."""
    x, y = (cols + 0.5) * CELL, (rows + 0.5) * CELL
    d = reg * CELL
    return torch.stack([x - d[:, 0], y - d[:, 1], x + d[:, 2], y + d[:, 3]], 1)
