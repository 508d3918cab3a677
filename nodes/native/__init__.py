"""SOW on ComfyUI's own MODEL, CONDITIONING and VAE.

`sample_layout` is the whole run, for a node like KSampler. `encode_layout`, `make_sampler` and `make_guider`
are its parts, for SamplerCustomAdvanced. LoRA, ControlNet, IPAdapter, hooks and other packs' attention
overrides stay in effect, because every model call goes through ComfyUI's own `calc_cond_batch`, and so do patches of
classifier-free guidance (RescaleCFG, PAG and the like), which `guidance` calls as the host would.

torch and ComfyUI are imported by the functions, so that the pack itself imports in no time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from ...sow_core.method.advice import Advice
    from ...sow_core.method.condition import Layout
    from ...sow_core.method.config import SowConfig
    from ...sow_core.method.encoded import EncodedLayout
    from ...sow_core.method.plan import Encode
    from ...sow_core.method.trace import Trace

Conditioning = list[Any]
"""ComfyUI's CONDITIONING: a list of [embedding, options]."""


class Sampled(NamedTuple):
    """latent: a LATENT; images: IMAGE [N, H, W, 3] or None; trace: the run's record, on the CPU.

    The trace's previews are in the VAE's own scale: `vae.decode(preview)` shows them.
    """

    latent: dict[str, Any]
    images: Tensor | None
    trace: Trace


def sample_layout(
    model: Any,
    positive: Conditioning,
    negative: Conditioning,
    vae: Any,
    layout: Layout,
    config: SowConfig,
    seeds: Sequence[int],
    *,
    extra: Mapping[str, Conditioning] | None = None,
    decode: bool = True,
) -> Sampled:
    """Run SOW natively: encode, sample with progress, previews and cancel, decode.

    model, positive, negative, vae: as connected by the user; none of them is changed.
    layout: from `sow_core.method.condition.make_layout`, with the config's `coverage` and `fill`.
    config: `config.guidance` is the cfg scale. seeds: one per image of the batch; [s, s + 1, ...] is custom.
    extra: CONDITIONING for the row names that some presets need: "empty", "suppress", "diverse".
    decode False: images is None (the VAE decodes nothing).
    Raises SowError for a model of another family, unfitting prompts or VAE, or non-finite values.
    """
    import comfy.model_management
    import comfy.utils
    import latent_preview
    import torch

    from ...sow_core.errors import SowError
    from ...sow_core.method.encoded import check_finite
    from ...sow_core.method.guidance import all_rows
    from ...sow_core.method.plan import build_plan
    from .checks import check_conditioning, check_model, check_vae
    from .sampler import SowGuider, SowSampler, level_sigmas, separated

    if not seeds:
        raise SowError("No seed: expected one per image.")
    family = check_model(model)
    check_vae(vae, family, layout.cell)
    plan = build_plan(separated(config, model.model_options), len(layout.conditions))
    rows = {"positive": positive, "negative": negative, **(extra or {})}
    for row in all_rows(plan.guidances):
        if rows.get(row) is None:
            raise SowError(
                f"These settings need the prompt {row!r}: connect a CONDITIONING for it, or choose another preset."
            )
        check_conditioning(model, row, rows[row])
    encoded = encode_layout(vae, layout, plan.reads)

    guider = SowGuider(model)
    guider.set_rows({row: rows[row] for row in all_rows(plan.guidances)})
    guider.set_cfg(config.guidance)
    sampler = SowSampler(encoded, config, seeds)
    empty = torch.zeros(len(seeds), *latent_shape(encoded, frames=family is not None and family.latent_dims == 3))
    samples = guider.sample(
        empty,
        empty,
        sampler,
        level_sigmas(model, config),
        callback=latent_preview.prepare_callback(model, plan.cost.calls),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seeds[0],
    )
    samples = samples.to(comfy.model_management.intermediate_device())
    assert sampler.trace is not None
    images = decoded(vae, samples) if decode else None
    if images is not None:
        check_finite(images, "the decoded picture")
    return Sampled({"samples": samples}, images, sampler.trace)


def encode_layout(vae: Any, layout: Layout, reads: Encode | None = None) -> EncodedLayout:
    """The layout's pictures through the VAE (means), in the VAE's own scale and on the CPU.

    Done before sampling, while the UNet may be elsewhere. reads: what the plan needs; None: all that any plan may.
    Raises SowError for an unfitting VAE or non-finite values.
    """
    from ...sow_core.method.encoded import encode_with
    from ...sow_core.method.plan import Encode
    from .checks import check_vae

    check_vae(vae, cell=layout.cell)

    return encode_with(lambda pictures: encoded(vae, pictures), layout, reads or Encode(canvas=True))


def encoded(vae: Any, pictures: Tensor) -> Tensor:
    """Latents [N, C, h, w] of pictures [N, 3, H, W] in 0..1, one by one, in the VAE's own scale and on the CPU."""
    import torch

    from .backend import unframed

    return torch.cat([unframed(vae.encode(p.movedim(0, -1)[None])).float().cpu() for p in pictures])


def latent_shape(encoded: EncodedLayout, frames: bool) -> tuple[int, ...]:
    """(C, h, w) of the layout's latent, with one frame behind its channels where the host's model has frames."""
    layout = encoded.layout
    sides = (layout.height // layout.cell, layout.width // layout.cell)
    return (encoded.channels, *((1,) if frames else ()), *sides)


def decoded(vae: Any, samples: Tensor) -> Tensor:
    """IMAGE [N, H, W, 3] of latents [N, C, h, w], with or without an axis of frames, as the VAE has it."""
    if getattr(vae, "latent_dim", 2) == 3 and samples.ndim == 4:
        samples = samples.unsqueeze(2)
    images = vae.decode(samples)
    return images.reshape(-1, *images.shape[-3:]) if images.ndim == 5 else images


def grid_of(model: Any) -> tuple[int, int]:
    """px per latent cell of a MODEL, and px of the grid that a layout for it lies on: (8, 8) for Stable Diffusion.

    Raises SowError for a model that does not run here.
    """
    from ...sow_core.method.box import CELL
    from .checks import check_model

    family = check_model(model)
    return (CELL, CELL) if family is None else (family.cell, family.snap)


def grid_of_vae(vae: Any) -> tuple[int, int]:
    """`grid_of` where only the VAE is known: those of transformers have 16 channels or more. Raises SowError."""
    from ...sow_core.method.box import CELL
    from ...sow_core.method.families import SD3
    from .checks import check_vae

    cell = check_vae(vae)
    return cell, SD3.snap if getattr(vae, "latent_channels", 4) >= 16 else CELL


def make_sampler(encoded: EncodedLayout, config: SowConfig | Callable[[Advice | None], SowConfig]) -> Any:
    """A SAMPLER for SamplerCustomAdvanced: cfg and prompts come from the guider, seeds from the noise.

    Image i of the latent batch uses noise_seed + i. The SIGMAS input is ignored: the config's steps decide.
    config: or a function that makes it of the advice that the guider's model carries.
    """
    from .sampler import SowSampler

    return SowSampler(encoded, config)


def make_guider(
    model: Any,
    positive: Conditioning,
    negative: Conditioning,
    cfg: float,
    extra: Mapping[str, Conditioning] | None = None,
) -> Any:
    """A GUIDER that also carries the rows "empty", "suppress" and "diverse"; an ordinary CFG guider otherwise."""
    from .checks import check_conditioning, check_model
    from .sampler import SowGuider

    check_model(model)
    rows = {
        "positive": positive,
        "negative": negative,
        **{k: v for k, v in (extra or {}).items() if v is not None},
    }
    for row, conditioning in rows.items():
        check_conditioning(model, row, conditioning)
    guider = SowGuider(model)
    guider.set_rows(rows)
    guider.set_cfg(cfg)
    return guider
