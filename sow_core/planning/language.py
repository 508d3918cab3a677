"""Planning with a language model: the paper's three stages in one call, or in three."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..method.box import Box
from . import instructions
from .errors import PlannerError, UnusableAnswer
from .geometry import RawBox, follow, settle_regions
from .offline import neutral_box, offline_prompt, offline_regions
from .patience import Patience, together
from .reading import PROMPT_KEYS, RawCondition, Target, find_answer, first_of, place_boxes, read_conditions
from .request import PlanRequest
from .schema import ConditionPlan, LayoutPlan, RelatedRegion
from .services import Answer, Service
from .text import intensified, plain

MODES = ("combined", "staged")


@dataclass
class _Record:
    """What the calls of one plan brought besides their contents."""

    raw: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    model_version: str = ""
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, answer: Answer) -> None:
        self.raw.append(answer.text)
        self.model_version = answer.model_version or self.model_version
        self.input_tokens += answer.input_tokens
        self.output_tokens += answer.output_tokens


@dataclass(frozen=True)
class _Read:
    """One usable answer."""

    fields: Mapping[str, Any]
    conditions: list[RawCondition]


class LanguagePlanner:
    """One plan for one request. Not reused."""

    def __init__(self, service: Service, request: PlanRequest, patience: Patience) -> None:
        self.service, self.request, self.patience = service, request, patience
        self.record = _Record()
        self.pictures = tuple(condition.encoded() for condition in request.conditions)
        self.targets = [Target(condition.aspect, condition.box) for condition in request.conditions]

    def plan(self, mode: str, cancelled: Callable[[], bool] | None) -> LayoutPlan:
        """Raises PlannerError. Blocks until done, looking at `cancelled` five times a second."""
        parts = instructions.wanted_parts(self.request)
        run = self._staged if mode == "staged" and len(parts) > 1 else self._combined
        return run(parts, cancelled)

    def _combined(self, parts: tuple[str, ...], cancelled: Callable[[], bool] | None) -> LayoutPlan:
        known = () if "position" in parts else self._boxes(None)[0]
        read = together([lambda: self._ask(parts, known)], self.patience, cancelled)[0] if parts else None
        proposed = read if "position" in parts else None
        boxes, notes = self._boxes(proposed)
        return self._assemble(boxes, notes, read, read if "context" in parts else None, proposed)

    def _staged(self, parts: tuple[str, ...], cancelled: Callable[[], bool] | None) -> LayoutPlan:
        """Recognition and position side by side; the context is asked about the boxes as they will be."""
        first = [part for part in parts if part != "context"]
        works = [functools.partial(self._ask, (part,), ()) for part in first]
        answers = dict(zip(first, together(works, self.patience, cancelled), strict=True))
        boxes, notes = self._boxes(answers.get("position"))
        context = None
        if "context" in parts:
            context = together([lambda: self._ask(("context",), boxes)], self.patience, cancelled)[0]
        return self._assemble(boxes, notes, answers.get("prompt"), context, None)

    def _ask(self, parts: tuple[str, ...], boxes: tuple[Box, ...]) -> _Read:
        """One question, asked once more with the fault if its answer is of no use. Raises PlannerError."""
        fault = ""
        for _ in range(2):
            question = instructions.ask(self.request, parts, boxes, fault, self.pictures)
            answer = self.patience.attempt(functools.partial(self.service.ask, question))
            self.record.add(answer)
            try:
                return self._read(answer.text, parts)
            except UnusableAnswer as unusable:
                fault = str(unusable)
                self.record.notes.append(f"an answer was not usable: {fault}".rstrip("."))
        raise PlannerError("bad_json", self.service.access.service, detail=fault.rstrip("."))

    def _read(self, text: str, parts: tuple[str, ...]) -> _Read:
        fields = find_answer(text)
        if set(parts) == {"prompt"}:
            found = []
        else:
            found = read_conditions(fields, len(self.targets), self.request.frame)
        if "position" in parts:
            for number, (condition, target) in enumerate(zip(found, self.targets, strict=True), 1):
                if condition.box is None and target.fixed is None:
                    raise UnusableAnswer(f"condition {number} has no condition_box.")
        return _Read(fields, found)

    def _boxes(self, read: _Read | None) -> tuple[tuple[Box, ...], list[str]]:
        """The settled boxes: from an answer, the user's own, or the middle where position planning is off."""
        proposed = []
        for i, (condition, target) in enumerate(zip(self.request.conditions, self.targets, strict=True)):
            answered = read.conditions[i].box if read else None
            if target.fixed:
                proposed.append(RawBox.of(target.fixed))
            else:
                proposed.append(answered or neutral_box(condition, self.request.frame))
        boxes, notes = place_boxes(proposed, self.targets, self.request.frame)
        return boxes, notes if read else []

    def _assemble(
        self,
        boxes: tuple[Box, ...],
        notes: list[str],
        prompt: _Read | None,
        context: _Read | None,
        moved: _Read | None,
    ) -> LayoutPlan:
        """`prompt`, `context`: the answers with these parts. `moved`: the answer whose own boxes its related regions
        were drawn around, None if they were drawn around the settled ones.
        """
        request, record = self.request, self.record
        descriptions = self._descriptions(prompt)
        conditions = []
        for i, box in enumerate(boxes):
            origin = moved.conditions[i].box if moved else None
            related, said = self._regions(i, boxes, context, origin)
            notes = notes + said
            conditions.append(ConditionPlan(box, related, descriptions[i], self.targets[i].fixed is not None))
        if request.use_prompt:
            answer = first_of(prompt.fields, PROMPT_KEYS)[1] if prompt else None
            text, said = intensified(
                answer, request.prompt, ", ".join(filter(None, descriptions)), request.count_tokens
            )
            if plain(request.prompt) != " ".join(request.prompt.split()).strip(" ,;"):
                said.append("prompt: weights and other special syntax of your text were not sent")
        else:
            text, said = offline_prompt(request)
        return LayoutPlan(
            request.frame, text, tuple(conditions), request.negative, {}, tuple(record.notes + notes + said)
        )

    def _descriptions(self, prompt: _Read | None) -> list[str]:
        """The user's own words first, then the model's."""
        own = [plain(condition.description) for condition in self.request.conditions]
        if prompt is None:
            return own
        found = prompt.conditions
        if not found:  # a prompt alone is read without its conditions, which then need no boxes
            entries = prompt.fields.get("conditions")
            entries = entries if isinstance(entries, list) else [prompt.fields]
            texts = [_description(entry) for entry in entries]
        else:
            texts = [condition.description for condition in found]
        texts += [""] * len(own)
        return [mine or theirs for mine, theirs in zip(own, texts, strict=False)]

    def _regions(
        self, i: int, boxes: tuple[Box, ...], context: _Read | None, origin: RawBox | None
    ) -> tuple[tuple[RelatedRegion, ...], list[str]]:
        if context is None:
            return (), []
        raw, box, frame = context.conditions[i], boxes[i], self.request.frame
        others = [other for other in boxes if other is not box]
        regions = [(label, follow(r, origin, box) if origin else r) for label, r in raw.regions]
        related, dropped = settle_regions(regions, box, frame, others)
        said = [f"condition {i + 1}: {note}" for note in (*raw.notes, *dropped)]
        if not related:
            related = offline_regions(self.request.conditions[i], self.request.prompt, box, frame, others)
            said.append(
                f"condition {i + 1}: the answer had no usable related region; the offline rule gave it"
            )
        return related, said


def _description(entry: Any) -> str:
    value = entry.get("condition_description", entry.get("description")) if isinstance(entry, Mapping) else ""
    return plain(value) if isinstance(value, str) else ""
