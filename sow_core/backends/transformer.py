"""The engine's protocol on flow transformers of diffusers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from ..errors import SowError
from ..method.backend import Pull
from ..method.guidance import POSITIVE
from ..method.modulation import AttentionControl
from ..method.schedule import Schedule
from .base import ModelBackend, TextEmbedding
from .components import FlowComponents
from .flows import FLOWS
from .joint_mode import JointMode
from .joint_reading import JointReader
from .told import TOLD

NO_CONCEPTS = "Keeping things apart reads cross-attention, which flow transformers do not have; leave --separate out."


class TransformerBackend(ModelBackend):
    """A flow transformer with its prompts: z_t = (1 - t) z_0 + t eps, and the net answers eps - z_0."""

    def __init__(self, parts: FlowComponents, device: str | torch.device = "cpu") -> None:
        super().__init__(parts, device)
        self.family = parts.family
        self._flow = FLOWS[parts.kind]
        self.cells = 1024 // parts.cell
        self.prompt_tokens = self._flow.tokens
        self.two_ways = self._flow.two_ways

    def _encode_text(self, text: str, negative: bool) -> TextEmbedding:
        return self._flow.prompt(self.parts, text, negative)

    def set_concepts(self, concepts: Sequence[str]) -> None:
        """Raises SowError for any: before the run, not in it."""
        if concepts:
            raise SowError(NO_CONCEPTS)

    def token_count(self, text: str) -> int:
        """Tokens of a prompt, without special ones, as the encoder counts that reads most of it."""
        tokenizer = self.parts.encoders[-1][0]
        return len(tokenizer(text, truncation=False, add_special_tokens=False).input_ids)

    # -- words

    def places(self, prompt: str, first: int, last: int) -> list[int]:
        """Where a prompt's characters first .. last - 1 stand among the tokens of its text, in every encoder's part."""
        return [place for told in TOLD[self.parts.kind](self.parts, prompt) for place in told.places(first, last)]

    def look(self, x: Tensor, schedule: Schedule, level: int, words: Sequence[Sequence[int]]) -> list[Tensor]:
        """The attention of the states' tokens to words of the positive prompt (places of its text), as `JointReader`
        keeps it; empty where another attention backend or a compiled graph hides it. One call of the net."""
        text = self.states(POSITIVE).shape[1]
        with JointReader((x.shape[-2], x.shape[-1]), self.family, text, words) as reader:
            self.predict(x, schedule, level, (POSITIVE,))
        return reader.kept

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
        self._check_grid(x)
        out = x.new_empty(len(rows), *x.shape)
        for group in self._groups(rows):
            names = tuple(rows[index] for index in group)
            velocity = self._velocity(x, schedule.t[level], names, control, embedded)
            out[group] = x + schedule.a[level] * velocity
        return out

    def _groups(self, rows: Sequence[str]) -> list[list[int]]:
        """The rows, by the length of their prompts: of different lengths, they cannot share a call."""
        groups: dict[int, list[int]] = {}
        for index, row in enumerate(rows):
            groups.setdefault(self._embedding(row).states.shape[1], []).append(index)
        return list(groups.values())

    def _velocity(
        self, x: Tensor, t: float, rows: tuple[str, ...], control: AttentionControl | None, embedded: bool
    ) -> Tensor:
        """eps - z_0 [R, N, C, h, w] of rows whose prompts are of one length."""
        guidance = self.family.scale if embedded else 1.0
        net, texts = self.parts.net, self._batch(rows, len(x))
        batch = x.to(net.dtype).repeat(len(rows), 1, 1, 1)
        told = {"1000t": 1000.0 * t, "t": t, "1-t": 1.0 - t}[self.family.told]
        times = torch.full((len(batch),), told, device=self.device, dtype=batch.dtype)
        if control is None or not (POSITIVE in rows or control.modulation.rows == "all"):
            answer = self._flow.call(net, batch, times, texts, guidance)
        else:
            cells = (x.shape[-2], x.shape[-1])
            with JointMode(control, rows, cells, self.family, texts.states.shape[1]) as seen:
                answer = self._flow.call(net, batch, times, texts, guidance)
            seen.check(self.parts.name)
        return self.family.sign * answer.float().view(len(rows), *x.shape)

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
        raise SowError(NO_CONCEPTS)

    def _batch(self, rows: tuple[str, ...], count: int) -> TextEmbedding:
        """The rows' prompts for `count` images each, in the net's precision."""
        key = (rows, count)
        if key not in self._batches:
            dtype = self.parts.net.dtype
            texts = [self._embedding(row) for row in rows]
            states = torch.cat([t.states.to(dtype).expand(count, -1, -1) for t in texts])
            pooled = [t.pooled.to(dtype).expand(count, -1) for t in texts if t.pooled is not None]
            self._batches[key] = TextEmbedding(states, torch.cat(pooled) if pooled else None)
        return self._batches[key]
