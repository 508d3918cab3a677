"""The engine's protocol on flow transformers of diffusers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from ..errors import SowError
from ..method.backend import Pull
from ..method.modulation import AttentionControl
from ..method.schedule import Schedule
from .base import ModelBackend, TextEmbedding
from .components import FlowComponents
from .flows import FLOWS


class TransformerBackend(ModelBackend):
    """A flow transformer with its prompts: z_t = (1 - t) z_0 + t eps, and the net answers eps - z_0."""

    def __init__(self, parts: FlowComponents, device: str | torch.device = "cpu") -> None:
        super().__init__(parts, device)
        self.family = parts.family
        self._flow = FLOWS[parts.kind]

    def _encode_text(self, text: str) -> TextEmbedding:
        self.text_calls += len(self.parts.encoders)
        return self._flow.prompt(self.parts, text)

    # -- the protocol

    def schedule(self, steps: int, shift: float = 1.0) -> Schedule:
        return Schedule.matched_flow(steps, shift)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Nothing is installed: what modulates is there during a call only."""
        yield

    @torch.no_grad()
    def predict(
        self,
        x: Tensor,
        schedule: Schedule,
        level: int,
        rows: Sequence[str],
        control: AttentionControl | None = None,
        embedded: bool = True,
    ) -> Tensor:
        if control is not None:
            raise SowError("Attention modulation does not run on transformers yet; switch it off (modulation=none).")
        self._check_grid(x)
        a, t = schedule.a[level], schedule.t[level]
        batch = x.to(self.parts.net.dtype).repeat(len(rows), 1, 1, 1)
        told = {"1000t": 1000.0 * t, "t": t, "1-t": 1.0 - t}[self.family.told]
        times = torch.full((len(batch),), told, device=self.device, dtype=batch.dtype)
        answer = self._flow.call(self.parts.net, batch, times, self._batch(tuple(rows), len(x)))
        velocity = self.family.sign * answer.float().view(len(rows), *x.shape)
        return x + a * velocity

    def _check_grid(self, x: Tensor) -> None:
        """Raises SowError unless the latents are whole tokens: diffusers would cut the rest off."""
        patch = self.family.patch
        height, width = x.shape[-2:]
        if height % patch or width % patch:
            size = f"{width * self.family.cell}x{height * self.family.cell}"
            raise SowError(f"Bad size {size}: expected multiples of {self.family.snap} px, the tokens of this model.")

    def pull(
        self, x: Tensor, schedule: Schedule, level: int, objective: Callable[[Tensor], Tensor], depth: int
    ) -> Pull:
        raise SowError(
            "Keeping things apart reads cross-attention, which flow transformers do not have; leave --separate out."
        )

    def _batch(self, rows: tuple[str, ...], count: int) -> TextEmbedding:
        """The rows' prompts for `count` images each, in the net's precision."""
        key = (rows, count)
        if key not in self._batches:
            dtype = self.parts.net.dtype

            def joined(parts: list[Tensor]) -> Tensor | None:
                each = [p.to(dtype) if p.is_floating_point() else p for p in parts]
                return torch.cat([p.expand(count, *p.shape[1:]) for p in each]) if each else None

            texts = [self._embedding(row) for row in rows]
            states = torch.cat([t.states.to(dtype).expand(count, -1, -1) for t in texts])
            pooled = joined([t.pooled for t in texts if t.pooled is not None])
            self._batches[key] = TextEmbedding(states, pooled, joined([t.mask for t in texts if t.mask is not None]))
        return self._batches[key]
