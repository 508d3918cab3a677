"""The native backend against diffusers: same weights, same noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from native_cases.common import (
    NORMAL,
    SHORT,
    both,
    case,
    core,
    layout,
    pack,
)


@case
def parity_demo() -> dict[str, Any]:
    config = core["modulation"].Modulation
    return {
        "normal": both().parity(NORMAL),
        "off": both().parity(replace(NORMAL, modulation=None)),
        "strong": both().parity(replace(NORMAL, modulation=config(suppress=4, enhance=4, threshold=0))),
        "all_rows": both().parity(replace(SHORT, modulation=config(rows="all"))),
        "minmax": both().parity(replace(SHORT, modulation=config(suppress=0.3, enhance=0.3, form="minmax"))),
        "adaptive": both().parity(replace(NORMAL, adaptive=True)),
        # Four cycles: past them this plan, noised one step too far and guided by four rows, blows rounding up.
        "four_rows": both().parity(replace(core["presets"].preset("cow_official"), cycles=4)),
        "two_conditions": both().parity(SHORT, made=layout(conditions=2)),
        "wide": both().parity(SHORT, made=layout(152, 104, 40)),
        "gated": both().parity(replace(SHORT, modulation=config(threshold=0.42, width=0.2, suppress_refine=2))),
        "picture": both().parity(replace(SHORT, picture_guidance=1.0)),
        "paper": both().parity(replace(core["presets"].preset("paper"), cycles=2)),
        "canvas_inversion": both().parity(replace(SHORT, invert_on="canvas")),
    }


@case
def parity_families() -> dict[str, Any]:
    return {name: both(name).parity(SHORT) for name in ("sd1", "sd2", "sd2_v", "sdxl")}


@case
def sdxl_sizes() -> dict[str, Any]:
    """The UNet is told the crop's own size in its inversion, the canvas's otherwise, even if a node set one."""
    b, told = both("sdxl"), []
    original = b.model.model.encode_adm

    def listen(**kwargs: Any) -> Any:
        told.append([kwargs["width"], kwargs["height"]])
        return original(**kwargs)

    b.model.model.encode_adm = listen
    try:
        sized = [[b.rows["positive"][0][0], {**b.rows["positive"][0][1], "width": 999, "height": 999}]]
        b.native(SHORT, positive=sized)
    finally:
        b.model.model.encode_adm = original
    return {"told": told}


@case
def schedule() -> dict[str, Any]:
    backend = pack("nodes.native.backend")
    grid = backend.schedule_of(both().model.get_model_object("model_sampling"), 10)
    other = both().diffusers.schedule(10)
    gap = max(abs(a - b) for a, b in zip(grid.a + grid.b, other.a + other.b, strict=True))
    return {"gap": gap, "t": grid.t}
