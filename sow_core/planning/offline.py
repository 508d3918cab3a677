"""The planner without a language model: deterministic rules on the mask, the scene's words and the proportions.

It never pretends to have seen the picture: the prompt stays the user's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..method.box import Box
from .geometry import RawBox, settle_regions
from .places import Place, direction, find_places, is_aloft, is_animal, is_person, size_word
from .reading import Target, place_boxes
from .request import ConditionPicture, PlanRequest
from .schema import ConditionPlan, Frame, LayoutPlan, RelatedRegion
from .silhouette import Silhouette, silhouette
from .text import CLIP_TOKENS, plain, with_description

WIDER = 1.6
"""Of a continuation, in widths of the cut: a neck widens to shoulders, a bonnet to a car."""

DEEPER = 1.25
"""Of a continuation, in sides of the condition's box."""

ROOM = 0.6
"""Left free beyond a cut, in sides of the condition's box."""

FACE_LEVEL = 0.38
"""Of the canvas, from the top: the middle of a face lies no higher in a portrait, which leaves room for the hair."""

FIGURE = 1.7
"""Height / width from which a person is a full figure."""


def plan_offline(request: PlanRequest, planner: str = "offline") -> LayoutPlan:
    """A plan from rules alone. The same request gives the same plan."""
    subjects = [_Subject.of(condition, request.prompt) for condition in request.conditions]
    boxes, notes = _boxes(request, subjects)
    conditions = []
    for number, (condition, subject, box) in enumerate(
        zip(request.conditions, subjects, boxes, strict=True), 1
    ):
        others = [other for other in boxes if other is not box]
        related = subject.related(box, request.frame, others) if request.use_context else ()
        notes.append(f"condition {number}: seen as {subject.seen}")
        fixed = condition.box is not None
        conditions.append(ConditionPlan(box, related, plain(condition.description), fixed))
    prompt, said = offline_prompt(request)
    return LayoutPlan(
        request.frame,
        prompt,
        tuple(conditions),
        request.negative,
        {"planner": planner, "parts": request.parts},
        tuple(notes + said),
    )


def offline_prompt(request: PlanRequest) -> tuple[str, list[str]]:
    """The user's prompt with the user's descriptions of the conditions, and a note if it is longer than is read."""
    prompt = request.prompt
    if request.use_prompt:
        for condition in request.conditions:
            prompt = with_description(prompt, condition.description)
    count = request.count_tokens(prompt) if request.count_tokens else 0
    if count > CLIP_TOKENS:
        return prompt, [f"prompt: it has {count} tokens; a text encoder reads {CLIP_TOKENS} at a time"]
    return prompt, []


def offline_regions(
    condition: ConditionPicture, scene: str, box: Box, frame: Frame, others: Sequence[Box] = ()
) -> tuple[RelatedRegion, ...]:
    """The related regions of a condition that lies at `box`, beside the boxes of the `others`."""
    return _Subject.of(condition, scene).related(box, frame, others)


def neutral_box(condition: ConditionPicture, frame: Frame) -> RawBox:
    """Where a condition goes when position planning is switched off: the middle, at the largest size."""
    return _centred(condition.aspect, frame.sides[1], frame.width / 2, frame.height / 2)


def _boxes(request: PlanRequest, subjects: list[_Subject]) -> tuple[tuple[Box, ...], list[str]]:
    frame = request.frame
    notes: list[str] = []
    targets = [Target(condition.aspect, condition.box) for condition in request.conditions]
    if not request.use_position:
        proposed = [neutral_box(condition, frame) for condition in request.conditions]
        return place_boxes(proposed, targets, frame)[0], notes
    places = find_places(request.prompt, [condition.name for condition in request.conditions])
    slots = _slots(len(subjects), frame)
    proposed = []
    for number, (subject, place, slot) in enumerate(zip(subjects, places, slots, strict=True), 1):
        proposed.append(subject.proposed(place, slot, request.prompt, frame))
        if place.why:
            notes.append(f"condition {number}: placed by the words {place.why!r}")
    boxes, changes = place_boxes(proposed, targets, frame)
    return boxes, notes + [change for change in changes if "overlap" in change]


def _slots(count: int, frame: Frame) -> list[tuple[float | None, float | None]]:
    """Where several conditions go when nothing is said: side by side in rows, the rows about the middle."""
    if count == 1:
        return [(None, None)]
    columns = min(count, max(frame.width // frame.sides[0], 1))
    rows = math.ceil(count / columns)
    slots: list[tuple[float | None, float | None]] = []
    for row in range(rows):
        inside = min(columns, count - row * columns)
        y = None if rows == 1 else (2 * row + 1) / (2 * rows)
        slots += [((2 * i + 1) / (2 * inside), y) for i in range(inside)]
    return slots


def _centred(aspect: float, longer: float, x: float, y: float) -> RawBox:
    width, height = (longer, longer / aspect) if aspect >= 1 else (longer * aspect, longer)
    return RawBox(x - width / 2, y - height / 2, width, height)


class _Subject:
    """What is known of one condition without seeing it as a person would."""

    def __init__(self, kind: str, outline: Silhouette, aspect: float, aloft: bool, person: bool) -> None:
        self.kind, self.outline, self.aspect = kind, outline, aspect
        self.aloft, self.person = aloft, person

    @classmethod
    def of(cls, condition: ConditionPicture, scene: str) -> _Subject:
        outline = silhouette(condition.image, condition.mask)
        words = f"{condition.name} {condition.description}".strip() or scene
        kind = condition.kind if condition.kind != "auto" else _kind(outline, condition.aspect, words)
        person = is_person(words) or not is_animal(words)
        return cls(kind, outline, condition.aspect, is_aloft(scene), person)

    @property
    def seen(self) -> str:
        origin = {
            "mask": "by its mask",
            "background": "by its flat background",
            "unknown": "no mask: the whole picture is taken",
        }[self.outline.origin]
        cuts = ", ".join(self.outline.contacts)
        return f"{self.kind} ({origin}{', cut off at ' + cuts if cuts else ''})"

    def proposed(
        self, place: Place, slot: tuple[float | None, float | None], scene: str, frame: Frame
    ) -> RawBox:
        """Where it would look natural, in px. Words of place win over its slot, its slot over its kind."""
        x, y = self._natural(scene)
        low, high = frame.sides
        word = size_word(scene)
        longer = (
            high if word == "large" or self.kind == "figure" else low if word == "small" else (low + high) / 2
        )
        box = _centred(self.aspect, longer, 0, 0)
        across = place.x if place.x is not None else slot[0] if slot[0] is not None else x
        down = place.y if place.y is not None else slot[1]
        center_x = across * frame.width
        center_y = down * frame.height if down is not None else self._height(y, box.height, frame)
        # Something put at a side keeps a little of the scene around it, or the room that its other part needs.
        room_x, room_y = ROOM * box.width, ROOM * box.height
        cut, margin_x, margin_y = self.outline.cut, frame.width / 32, frame.height / 32
        center_x = _between(
            center_x,
            box.width / 2 + (room_x if cut("left") else margin_x),
            frame.width - box.width / 2 - (room_x if cut("right") else margin_x),
        )
        center_y = _between(
            center_y,
            box.height / 2 + (room_y if cut("top") and self.kind != "face" else 0),
            frame.height - box.height / 2 - (room_y if cut("bottom") else margin_y),
        )
        return _centred(self.aspect, longer, center_x, center_y)

    def _natural(self, scene: str) -> tuple[float, str]:
        """Centre across as a fraction, and down as "top", "bottom", "ground" or "middle"."""
        cut = self.outline.cut
        x = 0.5
        if cut("left") != cut("right"):
            x = 0.68 if cut("left") else 0.32  # what is cut off needs its room on that side
        elif ahead := direction(scene):
            x = 0.6 if ahead == "left" else 0.4  # a gaze needs space ahead
        if self.kind == "face":
            return x, "top"
        if cut("bottom") != cut("top"):
            return x, "top" if cut("bottom") else "bottom"
        return x, "ground" if self.kind == "figure" else "middle"

    def _height(self, where: str, height: float, frame: Frame) -> float:
        """Centre down in px."""
        if where == "top":
            head_room = frame.height / (8 if self.outline.cut("top") else 14)
            center = head_room + height / 2
            return max(center, FACE_LEVEL * frame.height) if self.kind == "face" else center
        if where == "bottom":
            return frame.height * 7 / 8 - height / 2
        if where == "ground":
            return frame.height * 0.93 - height / 2
        return frame.height * (0.45 if self.aloft else 0.57)

    def related(self, box: Box, frame: Frame, others: Sequence[Box] = ()) -> tuple[RelatedRegion, ...]:
        """Where the rest of it goes: beyond each edge that cut it; below a head; the ground under what stands."""
        subject = self._in(box)
        found = [self._beyond(side, box, subject, frame) for side in self.outline.contacts]
        if self.kind == "face":
            found = [region for region in found if region[0] not in ("continues below", "continues above")]
            above = "hair" if self.person else "ears"
            found += [("neck and body", self._body(subject, frame)), (above, _hair(subject))]
        elif self.outline.origin == "unknown":
            found.append(("continues around", _around(RawBox.of(box), 0.25)))
        elif self.aloft and not found:
            found.append(("around it", _around(subject, 0.15)))
        elif not self.aloft and not self.outline.cut("bottom"):
            found.append(("ground under it", _ground(subject)))
        kept, _ = settle_regions(found, box, frame, others)
        if not kept:  # at the edge of the canvas there may be no room where it should go on
            kept, _ = settle_regions([("around it", _around(RawBox.of(box), 0.25))], box, frame, others)
        return kept

    def _in(self, box: Box) -> RawBox:
        """The subject's bounding box in px on the canvas."""
        o = self.outline
        return RawBox(
            box.x + o.left * box.width,
            box.y + o.top * box.height,
            (o.right - o.left) * box.width,
            (o.bottom - o.top) * box.height,
        )

    def _beyond(self, side: str, box: Box, subject: RawBox, frame: Frame) -> tuple[str, RawBox]:
        """From the cut outwards, wider than the cut, as deep as the condition and a quarter; below, to the end."""
        contact = self.outline.contacts[side]
        upright = side in ("left", "right")
        length = box.height if upright else box.width
        start = (box.y if upright else box.x) + contact.start * length
        span = (contact.end - contact.start) * length
        wide = WIDER * span
        along = start + span / 2 - wide / 2
        depth = DEEPER * (box.width if upright else box.height)
        overlap = 0.12 * (box.width if upright else box.height)
        if side == "left":
            return "continues to the left", RawBox(box.x - depth, along, depth + overlap, wide)
        if side == "right":
            return "continues to the right", RawBox(box.right - overlap, along, depth + overlap, wide)
        if side == "top":
            return "continues above", RawBox(along, box.y - depth, wide, depth + overlap)
        return "continues below", RawBox(
            along, box.bottom - overlap, wide, frame.height - box.bottom + overlap
        )

    def _body(self, head: RawBox, frame: Frame) -> RawBox:
        """Shoulders are a little over two heads wide."""
        wide = 2.3 * head.width
        top = head.bottom - 0.1 * head.height
        return RawBox(head.x + head.width / 2 - wide / 2, top, wide, frame.height - top)


def _kind(outline: Silhouette, aspect: float, words: str) -> str:
    across, down = (outline.right - outline.left) * aspect, outline.bottom - outline.top
    if is_person(words) and across / down <= 1.4:
        return "figure" if down / across >= FIGURE and not outline.cut("bottom") else "face"
    # A whole animal is not cut off above or below; a head, without its ears or its body, is.
    if is_animal(words) and 0.6 <= across / down <= 1.4 and (outline.cut("top") or outline.cut("bottom")):
        return "face"
    return "part" if outline.contacts else "object"


def _hair(head: RawBox) -> RawBox:
    return RawBox(
        head.x - 0.15 * head.width, head.y - 0.3 * head.height, 1.3 * head.width, 0.45 * head.height
    )


def _ground(subject: RawBox) -> RawBox:
    """Contact and shadow."""
    return RawBox(
        subject.x - 0.15 * subject.width,
        subject.bottom - 0.08 * subject.height,
        1.3 * subject.width,
        0.3 * max(subject.height, subject.width / 2),
    )


def _around(box: RawBox, share: float) -> RawBox:
    dx, dy = share * box.width, share * box.height
    return RawBox(box.x - dx, box.y - dy, box.width + 2 * dx, box.height + 2 * dy)


def _between(value: float, low: float, high: float) -> float:
    return min(max(value, low), high) if low <= high else (low + high) / 2
