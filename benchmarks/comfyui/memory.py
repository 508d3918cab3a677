"""Peak memory of SOW KSampler over a plain KSampler: random SD 1.5, 256 px, float32, CPU (Linux only)."""

from __future__ import annotations

import gc
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import keep, random_sd15, random_vae, scene, start

pack = start()

import comfy.sample  # noqa: E402
import torch  # noqa: E402

SIZE = 256


def resident(field: str) -> float:
    """MiB of this process: VmRSS now, VmHWM the peak since the last reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {field}")


def peak(run: Any) -> dict[str, float]:
    """MiB that a run needs at its height, over what is resident before it."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    before = resident("VmRSS")
    run()
    return {"before_mib": round(before, 1), "peak_over_it_mib": round(resident("VmHWM") - before, 1)}


@torch.inference_mode()
def main() -> None:
    native, presets = pack("nodes.native"), pack("sow_core.method.presets")
    model, vae = random_sd15(), random_vae()
    generator = torch.Generator().manual_seed(1)
    rows = [[[torch.randn(1, 77, 768, generator=generator), {}]] for _ in range(2)]
    normal = replace(presets.preset("normal"), cycles=2)
    layout = scene(pack, SIZE, SIZE // 2)

    def plain() -> None:
        latent = torch.zeros(1, 4, SIZE // 8, SIZE // 8)
        noise = comfy.sample.prepare_noise(latent, 7)
        out = comfy.sample.sample(
            model, noise, 2, 7.5, "ddim", "ddim_uniform", rows[0], rows[1], latent, disable_pbar=True, seed=7
        )
        vae.decode(out)

    def sow(config: Any) -> Any:
        return lambda: native.sample_layout(model, rows[0], rows[1], vae, layout, config, [7])

    plain()  # what is allocated once for all: oneDNN's weights, thread pools
    # Each variant twice; the second is kept, when the allocator has seen its sizes.
    variants = {
        "KSampler + VAE decode": plain,
        "SOW KSampler, no modulation": sow(replace(normal, modulation=None)),
        "SOW KSampler": sow(normal),
    }
    measured = {name: [peak(run), peak(run)][1] for name, run in variants.items()}
    base = measured["KSampler + VAE decode"]
    ratios = {
        name: round(
            (value["before_mib"] + value["peak_over_it_mib"])
            / (base["before_mib"] + base["peak_over_it_mib"]),
            4,
        )
        for name, value in measured.items()
    }
    keep("memory", {"size_px": SIZE, "rows": 2, "peaks": measured, "process_peak_over_plain": ratios})


if __name__ == "__main__":
    sys.exit(main())
