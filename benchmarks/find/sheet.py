"""The page of questions: the reference, the instruction, the five best answers, the right one framed."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from sow_core.pictures.boxdraw import font
from tools.demo_model.gallery import Gallery, Question

SIDE, GAP, WORDS = 112, 6, 18
GREEN = (30, 160, 60)


def draw(gallery: Gallery, questions: list[Question], answers: list[list[int]], path: Path) -> None:
    """answers: rows of the gallery for each question, the best first."""
    columns = 1 + len(answers[0])
    page = Image.new("RGB", (columns * (SIDE + GAP) + 3 * GAP, len(questions) * (SIDE + WORDS + GAP) + GAP), "white")
    pen = ImageDraw.Draw(page)
    for row, (question, found) in enumerate(zip(questions, answers, strict=True)):
        y = GAP + row * (SIDE + WORDS + GAP)
        pen.text((GAP, y), question.text, fill=(20, 20, 20), font=font(13))
        for column, at in enumerate([question.reference, *found]):
            x = GAP + column * (SIDE + GAP) + (2 * GAP if column else 0)
            picture = Image.fromarray(gallery.members[at].draw()).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            page.paste(picture, (x, y + WORDS))
            if at == question.answer:
                pen.rectangle((x - 2, y + WORDS - 2, x + SIDE + 1, y + WORDS + SIDE + 1), outline=GREEN, width=3)
    page.save(path, quality=88)
