"""Every method that is compared, as data: which plan, on which canvas, with how much of the layout plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sow_core.errors import SowError
from sow_core.method.config import SowConfig
from sow_core.method.overrides import override
from sow_core.method.plan import Plan, build_plan
from sow_core.method.presets import preset

from . import peers

SETTING = "setting"
"""In place of a preset's name: the preset of the case's own setting (normal, style, attribute)."""
EXTRA_PROMPTS = {"suppress": "human face", "diverse": "a high quality and colorful image"}
"""What the predecessor's four-row guidance was given for faces."""


@dataclass(frozen=True)
class Recommended:
    """What a model folder recommends (sow.json): guidance scale and negative prompt."""

    guidance: float = 7.5
    negative: str = ""


@dataclass(frozen=True)
class Method:
    """name: in tables and file names; group: "peer", "preset" or "ablation"; about: one line for the report.

    preset and changes (`NAME=VALUE`, as `generate --set`) make a SOW plan; peer makes any other.
    background: the canvas under the condition, "gray", "black" or "random"; position: the planned box and its
    related boxes (AP) or a box drawn by lot; intensify: the full text (PI) or what a user would type.
    compare: the ablation's question; methods with the same one belong into one table.
    """

    name: str
    group: str
    about: str
    preset: str = ""
    changes: tuple[str, ...] = ()
    peer: Callable[[float], Plan] | None = None
    background: str = "gray"
    position: bool = True
    intensify: bool = True
    compare: str = ""

    def config(self, setting: str, recommended: Recommended) -> SowConfig:
        """The SOW config of this method for a case of `setting`."""
        base = preset(setting if self.preset == SETTING else self.preset)
        base = replace(base, guidance=recommended.guidance)
        if base.inversion_guidance != 1.0:  # the predecessor inverts at the scale it samples with
            base = replace(base, inversion_guidance=recommended.guidance)
        return override(base, self.changes)

    def plan(self, setting: str, recommended: Recommended) -> Plan:
        if self.peer is not None:
            return self.peer(recommended.guidance)
        return build_plan(self.config(setting, recommended))

    def fingerprint(self, setting: str, recommended: Recommended) -> str:
        """Changes with anything that changes this method's pictures."""
        plan = self.plan(setting, recommended)
        config = plan.config.as_dict()
        config |= config.pop("predecessor")  # as they were written before: pictures that are there still count
        told: list[Any] = [repr(plan.ops), config, recommended.negative, self.background,
                           self.position, self.intensify]  # fmt: skip
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


PLAIN = "text_to_image"
"""Its pictures, judged at the faces found in them, say what the failure net makes of sound pictures of the model."""
STEADY = ("modulation.suppress_rate=0", "modulation.enhance_rate=0", "modulation.distance_rate=0",
          "modulation.threshold=0")  # fmt: skip
"""Modulation without decay and without the indicator's gate."""
PEERS = (
    Method(PLAIN, "peer", "plain sampling, 10 steps; never sees the picture",
           peer=lambda w: peers.text_to_image(10, w)),
    Method("text_to_image_25", "peer", "plain sampling, 25 steps", peer=lambda w: peers.text_to_image(25, w)),
    Method("sdedit", "peer", "SDEdit from the pasted gray canvas, strength 0.7", peer=lambda w: peers.sdedit(10, 7, w)),
    Method("replacement", "peer", "replacement inpainting (RePaint without resampling), 10 steps",
           peer=lambda w: peers.replacement(10, w)),
    Method("replacement_25", "peer", "the same with 25 steps", peer=lambda w: peers.replacement(25, w)),
    Method("repaint", "peer", "RePaint: 10 steps, each resampled 3 times",
           peer=lambda w: peers.replacement(10, w, rounds=3)),
    Method("dense", "peer", "SOW's cycle with DenseDiffusion's modulation: explicit min-max, 0.3, not gated, no decay",
           SETTING, ("modulation.form=minmax", "modulation.suppress=0.3", "modulation.enhance=0.3", *STEADY)),
    Method("cow_official", "peer", "the predecessor's exact plan, four rows", "cow_official"),
)  # fmt: skip
PRESETS = (
    Method("sow", "preset", "SOW with the preset of the case's setting", SETTING),
    Method("normal", "preset", "preset normal in every setting", "normal"),
    Method("style", "preset", "preset style in every setting", "style"),
    Method("attribute", "preset", "preset attribute in every setting", "attribute"),
    Method("fast", "preset", "preset fast in every setting", "fast"),
)


def _ablation(question: str, name: str, about: str, *changes: str, **layout: Any) -> Method:
    return Method(name, "ablation", about, SETTING, changes, compare=question, **layout)


NO_ATTENTION = "modulation=none"
ABLATIONS = (
    _ablation("canvas", "canvas_black", "black canvas", background="black"),
    _ablation("canvas", "canvas_random", "canvas of random pixels", background="random"),
    _ablation("canvas", "canvas_none", "start from pure noise", "init=none"),
    _ablation("canvas", "canvas_noised", "gray canvas noised, not inverted", "init=noise"),
    _ablation("modules", "no_position", "without position planning (AP): box drawn by lot", position=False),
    _ablation("modules", "no_attention", "without attention modulation (DAM)", NO_ATTENTION),
    _ablation("modules", "no_intensify", "without prompt intensification (PI)", intensify=False),
    _ablation("modules", "no_modules", "without AP, DAM and PI", NO_ATTENTION, position=False, intensify=False),
    _ablation("attention", "no_suppress", "without S", "modulation.suppress=0"),
    _ablation("attention", "no_enhance", "without E", "modulation.enhance=0"),
    _ablation("attention", "no_fade", "without decay over cycles", "modulation.suppress_rate=0",
              "modulation.enhance_rate=0"),
    _ablation("attention", "no_distance", "without decay over distance", "modulation.distance_rate=0"),
    _ablation("attention", "no_indicator", "without the indicator's gate", "modulation.threshold=0"),
    _ablation("attention", "all_rows", "modulating all rows", "modulation.rows=all"),
    _ablation("attention", "strong", "S and E three times as strong", "modulation.suppress=6", "modulation.enhance=3"),
    _ablation("attention", "one_way", "nearly one-way attention: S 20, E 3, all rows, no decay, no gate",
              "modulation.suppress=20", "modulation.enhance=3", "modulation.rows=all", *STEADY),
    *(_ablation("cycles", f"cycles_{n}", f"{n} cycles", f"cycles={n}") for n in (0, 1, 2, 3, 4, 7, 10, 15, 20)),
    *(_ablation("cycle ends", f"ends_{hi}_{lo}", f"cycle between levels {hi} and {lo}",
                *(["preserve=3"] if lo == 4 else []), f"hi={hi}", f"lo={lo}")
      for hi, lo in ((6, 5), (8, 5), (9, 5), (7, 6), (8, 6), (6, 4))),
    *(_ablation("ID levels", f"keep_{text or 'none'}", f"ID levels {text or 'none'}",
                f"preserve={','.join(text) or 'none'}") for text in ("", "4", "43", "432", "4321", "43210")),
    *(_ablation("refine eta", f"eta_{eta}", f"refine eta {eta}", f"refine_eta={eta}") for eta in (0, 0.1, 0.5, 1)),
    _ablation("cycle eta", "cycle_eta_0", "deterministic steps in the cycle", "cycle_eta=0"),
    _ablation("trajectory", "trajectory_noise", "forward noise, one for all levels", "trajectory=noise"),
    _ablation("trajectory", "trajectory_fresh", "forward noise, new at each use", "trajectory=noise_fresh"),
    _ablation("trajectory", "invert_crop", "inversion of the crop alone", "invert_on=crop"),
    _ablation("trajectory", "crop_guided", "inversion of the crop alone, refine guided to its end", "invert_on=crop",
              "unguided_tail=0"),
    *(_ablation("trajectory", f"stride_{n}", f"inversion in calls of {n} levels", f"inversion_stride={n}")
      for n in (1, 3, 7)),
    _ablation("trajectory", "inversion_guided", "inversion at guidance 3", "inversion_guidance=3"),
    *(_ablation("guidance inside", f"inside_{w:g}", f"refine guidance {w:g} within the condition",
                f"guidance_inside={w:g}") for w in (1, 2)),
    *(_ablation("unguided tail", f"tail_{n}", f"{n} last steps without guidance", f"unguided_tail={n}")
      for n in (0, 1, 3, 5)),
    _ablation("fill", "fill_keep", "the picture's own pixels around the mask", "fill=keep"),
    _ablation("fill", "fill_gray", "gray around the mask", "fill=gray"),
    _ablation("fill", "coverage_strict", "only cells that the mask covers whole", "coverage=1.0"),
    _ablation("stop", "adaptive", "cycles until the picture settles", "adaptive=true"),
)  # fmt: skip
METHODS = {m.name: m for m in (*PEERS, *PRESETS, *ABLATIONS)}
GROUPS = {
    "peers": tuple(m.name for m in PEERS),
    "presets": ("sow", "fast"),
    "main": (*(m.name for m in PEERS), "sow", "fast"),
    # PLAIN sets what counts as broken (report.thresholds): without it no failure rate means much.
    "ablations": (PLAIN, "sow", *(m.name for m in ABLATIONS)),
    "all": tuple(METHODS),
}


def choose(text: str) -> list[Method]:
    """Methods by names and groups, separated by commas, in the order given. Raises SowError for others."""
    names: dict[str, None] = {}
    for part in (p.strip() for p in text.split(",") if p.strip()):
        if part in GROUPS:
            names.update(dict.fromkeys(GROUPS[part]))
        elif part in METHODS:
            names[part] = None
        else:
            group = tuple(m.name for m in ABLATIONS if m.compare == part)
            if not group:
                questions = sorted({m.compare for m in ABLATIONS})
                raise SowError(
                    f"Unknown method {part!r}: expected names or groups among {', '.join((*GROUPS, *questions))} "
                    f"or {', '.join(METHODS)}."
                )
            names.update(dict.fromkeys(("sow", *group)))
    if not names:
        raise SowError("No method: give --methods NAME,... (for example main, or sow,cow_official).")
    return [METHODS[n] for n in names]
