"""Every method that is compared, as data: which plan, on which canvas, with how much of the layout plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sow_core.errors import SowError
from sow_core.method.advice import Advice
from sow_core.method.config import SowConfig
from sow_core.method.overrides import override
from sow_core.method.plan import Denoise, Plan, build_plan

from . import peers
from .tokens import token_replacement

SETTING = "setting"
"""In place of a preset's name: the preset of the case's own setting (normal, style, attribute)."""
PRESET_OF = {"small": "normal"}
"""Settings that have no preset of their own."""
GUIDANCE = 7.5
"""Where a model folder recommends none."""
EXTRA_PROMPTS = {"suppress": "human face", "diverse": "a high quality and colorful image"}
"""What the predecessor's four-row guidance was given for faces."""


@dataclass(frozen=True)
class Method:
    """name: in tables and file names; group: "peer", "preset" or "ablation"; about: one line for the report.

    preset and changes (`NAME=VALUE`, as `generate --set`) make a SOW plan; peer makes any other.
    background: the canvas under the condition, "gray", "black" or "random"; position: the planned box and its
    related boxes (AP) or a box drawn by lot; intensify: the full text (PI) or what a user would type.
    edit: a last change of the plan's ops, for what is no setting. advised: with the model's own changes of the preset.
    compare: the ablation's question; methods with the same one belong into one table.
    against: the method that its numbers are paired with, case by case.
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
    edit: Callable[[Plan], Plan] | None = None
    advised: bool = True
    compare: str = ""
    against: str = ""

    def config(self, setting: str, advice: Advice) -> SowConfig:
        """The SOW config of this method for a case of `setting`."""
        name = PRESET_OF.get(setting, setting) if self.preset == SETTING else self.preset
        told = advice if self.advised else replace(advice, presets={})
        return override(told.config(name), self.changes)

    def plan(self, setting: str, advice: Advice) -> Plan:
        if self.peer is not None:
            return self.peer(advice.guidance or GUIDANCE)
        plan = build_plan(self.config(setting, advice))
        return plan if self.edit is None else self.edit(plan)

    def fingerprint(self, setting: str, advice: Advice) -> str:
        """Changes with anything that changes this method's pictures."""
        plan = self.plan(setting, advice)
        config = plan.config.as_dict()
        config |= config.pop("predecessor")  # as they were written before: pictures that are there still count
        told: list[Any] = [repr(plan.ops), config, advice.negative, self.background,
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
    *(Method(name, "peer", about, peer=lambda w, n=n, tau=tau: token_replacement(
        peers.replacement(n, w), tau, shuffle=True))
      for name, about, n, tau in (
          ("tokens", "token replacement (Personalize Anything), first fifth of 10 steps, patches shuffled", 10, 0.8),
          ("tokens_half", "the same in the first half", 10, 0.5),
          ("tokens_25", "the same in the first half of 25 steps", 25, 0.5))),
    Method("dense", "peer", "SOW's cycle with DenseDiffusion's modulation: explicit min-max, 0.3, not gated, no decay",
           SETTING, ("modulation.form=minmax", "modulation.suppress=0.3", "modulation.enhance=0.3", *STEADY)),
    Method("cow_official", "peer", "the predecessor's exact plan, four rows", "cow_official"),
)  # fmt: skip
PRESETS = (
    Method("sow", "preset", "SOW with the preset of the case's setting", SETTING, against="as_it_was"),
    Method("normal", "preset", "preset normal in every setting", "normal"),
    Method("style", "preset", "preset style in every setting", "style"),
    Method("attribute", "preset", "preset attribute in every setting", "attribute"),
    Method("fast", "preset", "preset fast in every setting", "fast", against="as_it_was"),
)


def _ablation(question: str, name: str, about: str, *changes: str, against: str = "sow", **layout: Any) -> Method:
    return Method(name, "ablation", about, SETTING, changes, compare=question, against=against, **layout)


def text_pushed(plan: Plan, push: float = 1.0) -> Plan:
    """The same plan with that much more text guidance outside the condition in the cycle, at the same rows."""

    def pushed(op: Denoise) -> Denoise:
        scale = op.guidance.scale
        return replace(op, guidance=replace(op.guidance, scale=scale + push, inside=scale))

    cycle = (pushed(op) if isinstance(op, Denoise) and op.cycle is not None else op for op in plan.ops)
    return replace(plan, ops=tuple(cycle))


NO_ATTENTION = "modulation=none"
CUT = ("modulation.form=cut", "modulation.rows=all")
ABLATIONS = (
    _ablation("canvas", "canvas_black", "black canvas", background="black"),
    _ablation("canvas", "canvas_random", "canvas of random pixels", background="random"),
    _ablation("canvas", "canvas_none", "start from pure noise", "init=none"),
    _ablation("canvas", "canvas_noised", "gray canvas noised, not inverted", "init=noise"),
    _ablation("modules", "no_position", "without position planning (AP): box drawn by lot", position=False),
    _ablation("modules", "no_attention", "without attention modulation (DAM)", NO_ATTENTION),
    _ablation("modules", "no_intensify", "without prompt intensification (PI)", intensify=False),
    _ablation("modules", "no_modules", "without AP, DAM and PI", NO_ATTENTION, position=False, intensify=False),
    # The paper's chain in the paper's order: the modulation comes before the intensified prompt.
    _ablation("chain", "ap", "position planning (AP) alone, on what a user would type", NO_ATTENTION, intensify=False,
              against=""),
    _ablation("chain", "ap_dam", "AP and attention modulation (DAM)", intensify=False, against="ap"),
    _ablation("chain", "ap_dam_pi", "AP, DAM and prompt intensification (PI): all of it", against="ap_dam"),
    _ablation("chain", "ap_cut", "control: AP, attention between the condition and the rest cut in every cycle call",
              *CUT, intensify=False, against="ap"),
    _ablation("attention", "cut", "control: no attention between the condition and the rest in the cycle", *CUT,
              against="no_attention"),
    _ablation("attention", "no_suppress", "without S", "modulation.suppress=0"),
    _ablation("attention", "no_enhance", "without E", "modulation.enhance=0"),
    _ablation("attention", "no_fade", "without decay over cycles", "modulation.suppress_rate=0",
              "modulation.enhance_rate=0"),
    _ablation("attention", "fade_fast", "decay to nothing: 7 % are left in the tenth cycle",
              "modulation.suppress_rate=0.3", "modulation.enhance_rate=0.3", "modulation.suppress_floor=0",
              "modulation.enhance_floor=0"),
    _ablation("attention", "fade_floor", "fast decay to a floor of 0.3", "modulation.suppress_rate=0.3",
              "modulation.enhance_rate=0.3"),
    _ablation("attention", "no_distance", "without decay over distance", "modulation.distance_rate=0"),
    _ablation("attention", "no_indicator", "without the indicator's gate", "modulation.threshold=0"),
    _ablation("attention", "all_rows", "modulating all rows", "modulation.rows=all"),
    _ablation("attention", "refine_suppress", "S 2 also in the refine below the last ID level",
              "modulation.suppress_refine=2"),
    _ablation("attention", "strong", "S and E three times as strong", "modulation.suppress=6", "modulation.enhance=3"),
    _ablation("attention", "one_way", "nearly one-way attention: S 20, E 3, all rows, no decay, no gate",
              "modulation.suppress=20", "modulation.enhance=3", "modulation.rows=all", *STEADY),
    _ablation("picture guidance", "picture_1", "guided towards the condition at scale 1 in the cycle",
              "picture_guidance=1"),
    _ablation("picture guidance", "picture_2", "the same at scale 2", "picture_guidance=2"),
    _ablation("picture guidance", "text_push", "control: the same push by the text, guidance + 1 outside",
              edit=text_pushed),
    _ablation("picture guidance", "more_cycles", "control: the rows of picture_1 spent on text-guided cycles",
              "cycles=7"),
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
    # A grid of few steps, as distilled models have: levels near the t of 7 and 5 of ten.
    *(_ablation("few steps", f"few_{n}_{hi}_{lo}" + (f"_{c}" if c != 5 else ""),
                f"{n} steps, {c} cycles between {hi} and {lo}", f"steps={n}", f"hi={hi}", f"lo={lo}", f"cycles={c}",
                f"preserve={lo - 1}", f"unguided_tail={min(2, lo - 1)}")
      for n, hi, lo, c in ((8, 6, 4, 5), (6, 5, 4, 5), (6, 4, 3, 5), (4, 3, 2, 5), (4, 3, 2, 2))),
    _ablation("stop", "adaptive", "cycles until the picture settles", "adaptive=true"),
)  # fmt: skip


def _candidate(name: str, about: str, *changes: str) -> Method:
    """A candidate for a model's preset: changes of the program's own, so that choosing one does not move the others."""
    return Method(name, "candidate", about, SETTING, changes, advised=False, compare="presets", against="as_it_was")


CANDIDATES = (
    _candidate("as_it_was", "tail 2, a call at every second level of the inversion"),
    _candidate("stride7", "inversion in one call", "inversion_stride=7"),
    _candidate("tail5", "no guidance in the refine", "unguided_tail=5"),
    _candidate("tail5_stride7", "both", "inversion_stride=7", "unguided_tail=5"),
    _candidate("keep4321", "both, ID levels 4 to 1", "inversion_stride=7", "unguided_tail=5", "preserve=4,3,2,1"),
    _candidate("cycles2", "two cycles", "cycles=2"),
    _candidate("cycles2_stride7", "two cycles, inversion in one call, started from the noised canvas", "cycles=2",
               "inversion_stride=7", "init=noise"),
    _candidate("cycles2_tail5", "the same with no guidance in the refine", "cycles=2", "inversion_stride=7",
               "init=noise", "unguided_tail=5"),
    _candidate("six_four", "two cycles between 6 and 4, ID level 3, tail 4", "cycles=2", "inversion_stride=7",
               "init=noise", "unguided_tail=4", "hi=6", "lo=4", "preserve=3"),
)
"""For the presets of a model's sow.json, the last three also for its `fast`."""
METHODS = {m.name: m for m in (*PEERS, *PRESETS, *CANDIDATES, *ABLATIONS)}
GROUPS = {
    "peers": tuple(m.name for m in PEERS),
    "presets": ("sow", "fast"),
    "main": (*(m.name for m in PEERS), "sow", "fast"),
    # PLAIN sets what counts as broken (report.thresholds): without it no failure rate means much.
    "ablations": (PLAIN, "sow", *(m.name for m in ABLATIONS)),
    "candidates": (PLAIN, *(m.name for m in CANDIDATES)),
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
