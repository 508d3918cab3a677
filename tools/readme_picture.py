"""Draws docs/images/examples.png: example conditions on their canvases, and what the demo model grew around them.

    python -m tools.readme_picture
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

from PIL import Image

from sow_core.backends.diffusers import DiffusersBackend
from sow_core.backends.painting import paint
from sow_core.files import atomic_write
from sow_core.method.box import CELL, Box
from sow_core.method.condition import load_condition, make_layout, to_picture
from sow_core.method.plan import build_plan

ROOT = Path(__file__).resolve().parents[1]
CASES = [
    ("tom", "a photo of a smiling man wearing a blue suit on a beach"),
    ("rose", "a photo of a smiling woman wearing a red dress in a forest"),
    ("kai", "a photo of a serious man wearing a green hoodie in a city at night"),
    ("walt", "a photo of an old man with a beard wearing glasses and a black suit in snowy mountains"),
    ("mia", "a photo of a sad woman wearing an orange t-shirt in a flower garden"),
]
BOX = Box(32, 24, 64, 64)
SEED = 1
SIDE, GAP = 192, 8


def main() -> int:
    """Write the picture; the first seed of each case, none chosen."""
    backend = DiffusersBackend.load("demo")
    advice = backend.parts.recommended
    plan = build_plan(advice.config("normal"))
    side = backend.parts.unet.config.sample_size * CELL
    scale = side / 128
    box = Box(*(round(v * scale) for v in (BOX.x, BOX.y, BOX.width, BOX.height)))
    sheet = Image.new("RGB", ((SIDE + GAP) * len(CASES) - GAP, 2 * SIDE + GAP), "white")
    for column, (name, prompt) in enumerate(CASES):
        folder = ROOT / "pictures"
        condition = load_condition(folder / f"{name}.png", folder / f"{name}_mask.png", box)
        layout = make_layout([condition], side, side)
        backend.set_prompts({"positive": prompt, "negative": advice.negative or ""})
        result = paint(plan, backend, layout, [SEED])
        for row, image in enumerate((layout.canvas, result.images[0])):
            picture = to_picture(image).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            sheet.paste(picture, (column * (SIDE + GAP), row * (SIDE + GAP)))
    data = BytesIO()
    sheet.save(data, "PNG", optimize=True)
    print(atomic_write(ROOT / "docs" / "images" / "examples.png", data.getvalue()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
