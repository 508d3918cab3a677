"""The gallery that comes with the pack: `python -m tools.demo_model.draw_gallery`.

Portraits of held-out seeds with the masks of their faces, so that a search has something to find and SOW something
to keep without any upload.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from . import world

OUT = Path("pictures/gallery")
FIRST, COUNT = 9_700_000, 32


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for i in range(COUNT):
        style = {"style": "photo"} if i % 4 else {}
        sample = world.render(FIRST + i, kind="portrait", degraded=False, **style)
        assert sample.face_mask is not None
        Image.fromarray(sample.image).save(OUT / f"{i + 1:02}.png", optimize=True)
        Image.fromarray(sample.face_mask).point(lambda v: 255 if v >= 128 else 0).convert("1").save(
            OUT / f"{i + 1:02}_mask.png", optimize=True
        )
    print(f"{COUNT} portraits in {OUT}")


if __name__ == "__main__":
    main()
