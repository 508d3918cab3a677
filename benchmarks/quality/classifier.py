"""Which text a picture follows, asked of the model itself: a diffusion classifier on the part outside the face.

Li et al. 2023, "Your Diffusion Model is Secretly a Zero-Shot Classifier": the text under which the model predicts
the noise best. Needs no judge, treats all methods alike, and knows only what the model knows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sow_core.backends.base import ModelBackend
from sow_core.method.schedule import add_noise
from tools.demo_model.attributes import BACKGROUNDS
from tools.demo_model.captions import PLACE_WORDS, STYLE_WORDS

LEVELS = (5, 7, 9)
"""Of a 10-step grid: t = 401, 601, 801, where layout and places are decided."""
STYLES = ("photo", "pencil", "watercolor", "pixel")


class TextClassifier:
    """Place and style of pictures by the model's own noise prediction."""

    def __init__(self, backend: ModelBackend, draws: int = 1) -> None:
        self.backend = backend
        self.draws = draws
        self.schedule = backend.schedule(10)

    def place(self, image: Tensor, outside: Tensor, prompt: str) -> str:
        """The place whose words, in place of the prompt's own, explain the picture best."""
        return self._best(image, outside, {b: replace_place(prompt, b) for b in BACKGROUNDS})

    def style(self, image: Tensor, outside: Tensor, prompt: str) -> str:
        return self._best(image, outside, {s: replace_style(prompt, s) for s in STYLES})

    @torch.no_grad()
    def _best(self, image: Tensor, outside: Tensor, texts: dict[str, str]) -> str:
        """The text of least error on the latent cells where `outside` [H, W] is 1."""
        z = self.backend.encode(image[None])
        cells = torch.nn.functional.avg_pool2d(outside[None, None].float(), 8)
        cells = (cells > 0.99).float()
        rows = tuple(texts)
        self.backend.set_prompts(texts)
        error = torch.zeros(len(rows))
        generator = torch.Generator().manual_seed(0)
        for level in LEVELS:
            noise = torch.randn(self.draws, *z.shape[1:], generator=generator)
            x = add_noise(z.expand(self.draws, -1, -1, -1), noise, self.schedule, level)
            eps = self.backend.predict(x, self.schedule, level, rows)
            error += ((eps - noise).square() * cells).flatten(1).mean(dim=1)
        return rows[int(error.argmin())]


def replace_place(prompt: str, background: str) -> str:
    """The prompt with another place. Raises ValueError if it names none."""
    for words in PLACE_WORDS.values():
        if prompt.endswith(words):
            return prompt.removesuffix(words) + PLACE_WORDS[background]
    raise ValueError(f"no place in {prompt!r}")


def replace_style(prompt: str, style: str) -> str:
    """The prompt with another style. Raises ValueError if it names none."""
    for words in (w for group in STYLE_WORDS.values() for w in group):
        if prompt.startswith(words + " "):
            return STYLE_WORDS[style][0] + prompt.removeprefix(words)
    raise ValueError(f"no style in {prompt!r}")
