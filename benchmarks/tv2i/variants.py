"""What is compared in which table, and what the paper prints beside it, as far as it is at hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SETTINGS = ("normal", "style", "attribute")
"""The paper's three tasks."""
PRESETS = {
    "paper": {"normal": "paper", "style": "paper_style", "attribute": "paper_attribute"},
    "ours": {setting: setting for setting in SETTINGS},
}
"""The presets of the tasks: the paper's own settings, and ours."""
COUNT = 2
"""Pictures of a prompt."""
PROMPTS = {
    "normal": ("a photo of a {who} on a beach", "a photo of a {who} in a forest",
               "a photo of a {who} in snowy mountains", "a photo of a {who} wearing a suit in a city"),
    "style": ("a pencil sketch of a {who} in a garden", "a watercolor painting of a {who} on a beach",
              "an oil painting of a {who} in a forest", "a pixel art picture of a {who} in a city"),
    "attribute": ("a photo of a smiling {who} in a garden", "a photo of an old {who} in a library",
                  "a photo of a {who} wearing glasses on a beach", "a photo of an angry {who} in a city"),
}  # fmt: skip
"""Ours: the paper's were not published."""


@dataclass(frozen=True)
class Variant:
    """A way to make a case's pictures. preset "": the setting's; intensify: the planner's prompt instead of the
    plain one; job: further names of a line of jobs."""

    name: str
    preset: str = ""
    settings: tuple[str, ...] = ()
    intensify: bool = True
    job: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Row:
    """A line of a table: ours, and the paper's printed values by column."""

    label: str
    variant: Variant
    printed: dict[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Table:
    title: str
    settings: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


SOW = Variant("sow")
COW = Variant("cow", "cow_official", intensify=False,
              job={"suppress": "human face", "diverse": "a high quality and colorful image"})  # fmt: skip
PLAIN = Variant("ap", settings=("modulation=none",), intensify=False)
MODULATED = Variant("ap_dam", intensify=False)


def _without(name: str, *settings: str) -> Variant:
    return Variant(name, settings=settings)


QUALITY = ("id", "faces", "text", "failed")
TABLES = {
    "I": Table("the method and its predecessor", SETTINGS, (*QUALITY, "psnr", "seconds"),
               (Row("COW's plan (`cow_official`)", COW), Row("SOW", SOW))),
    "II": Table("modules: adaptive position (AP), attention modulation (DAM), prompt intensification (PI)", ("normal",),
                QUALITY,
                (Row("AP", PLAIN, {"id": ".8239", "failed": "13.3 %"}),
                 Row("AP + DAM", MODULATED, {"id": ".8089", "failed": "8.3 %"}),
                 Row("AP + DAM + PI", SOW))),
    "III": Table("parts of the attention modulation", ("normal",), QUALITY,
                 (Row("without suppression", _without("no_suppress", "modulation.suppress=0"), {"failed": "11.7 %"}),
                  Row("without enhancement", _without("no_enhance", "modulation.enhance=0"), {"failed": "16.7 %"}),
                  Row("without temporal decay", _without("no_fade", "modulation.suppress_rate=0",
                                                         "modulation.enhance_rate=0"), {"failed": "6.7 %"}),
                  Row("without spatial decay", _without("no_distance", "modulation.distance_rate=0"),
                      {"failed": "13.3 %"}),
                  Row("without the indicator", _without("no_indicator", "modulation.threshold=0"),
                      {"failed": "8.3 %"}),
                  Row("full", SOW, {"failed": "5.0 %"}))),
    "IV": Table("cycles between levels 7 and 5, two steps each", ("normal",), ("id", "text", "seconds"),
                (Row("5 cycles, 10 steps", _without("cycles_5", "cycles=5"), {"seconds": "2.45"}),
                 Row("10 cycles, 20 steps", _without("cycles_10", "cycles=10"), {"seconds": "4.67"}),
                 Row("20 cycles, 40 steps", _without("cycles_20", "cycles=20"), {"seconds": "9.59, 9.65"}))),
}  # fmt: skip
"""The printed values are quoted from notes made while the paper (arXiv 2411.19182) was read; its other ones, and those
of the methods that it compares with, are not at hand. Its seconds are of an RTX 4090, its failures of 60 pictures."""
