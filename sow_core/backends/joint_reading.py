"""What the image's tokens pay to words in a diffusers transformer, read off its joint attention, which stays as it is.

As in `joint_mode`, a function mode sees the final queries and keys, after rope and norms, on this thread and inside its
`with` only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..method.families import Family
from ..method.joint import find_span, words_attention


class JointReader(TorchFunctionMode):
    """Around one call of the net with one prompt.

    cells: (height, width) of the latents; text: tokens of the prompt; words: each word's places among them.
    kept: [T, words] of every attention call with image and text, mean over heads and images.
    """

    def __init__(
        self, cells: tuple[int, int], family: Family, text: int, words: Sequence[Sequence[int]]
    ) -> None:
        super().__init__()
        self.cells, self.family, self.text, self.words = cells, family, text, words
        self.kept: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            self._look(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _look(self, query: Tensor, key: Tensor, *args: Any, scale: float | None = None, **more: Any) -> None:
        """A mask of the call is left out of account: of a single prompt it hides nothing."""
        tokens = query.shape[2] if query.ndim == 4 else 0
        if tokens != key.shape[-2]:
            return
        span = find_span(tokens, self.cells, self.family, self.text, self.family.diffusers_first)
        if span is not None and tokens > span.padded:
            self.kept.append(words_attention(query, key, span, self.words, scale))
