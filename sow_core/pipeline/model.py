"""A loaded model as a function of pictures and words: what `sow.load` returns and `generate` uses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SowError
from ..memory import is_out_of_memory
from ..method.box import check_size
from ..method.prompt_syntax import note
from .job import Job, check
from .made import Made
from .options import Options
from .placing import make_canvas, place
from .quiet import quiet_libraries

if TYPE_CHECKING:
    from ..backends.base import ModelBackend
    from ..backends.painting import Painted
    from ..method.box import Box
    from ..method.config import SowConfig
    from ..method.trace import Event
    from ..planning.schema import LayoutPlan
    from .options import Picture

DTYPES = ("float32", "float16", "bfloat16")

log = logging.getLogger("sow")


def load(
    model: str | Path = "demo",
    *,
    device: str | None = None,
    dtype: str | None = None,
    download: bool = False,
    config: str | Path | None = None,
    say: Callable[[str], object] = log.warning,
) -> Model:
    """Load a Stable Diffusion 1.x, 2.x or SDXL model, or a flow transformer.

    model: "demo", "demo_flow", a diffusers folder, a .safetensors checkpoint, or a hub id (owner/name), which is
    fetched only with `download`. device: "cpu", "cuda", "mps", ... (default: the best there is). dtype: "float32",
    "float16" or "bfloat16" of the net (default: float16 on cuda, else float32). config: for a
    checkpoint: a diffusers folder of its family. `say` is told what the user may want to know. Raises SowError, in one
    line, for whatever is no model.
    """
    import torch

    from ..backends.opening import open_backend

    where = device or _best_device()
    try:
        kind = torch.device(where).type
        torch.zeros(1, device=where)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0][:100]
        raise SowError(f"The device {where!r} cannot be used here ({reason}); try --device cpu.") from None
    if dtype is not None and dtype not in DTYPES:
        raise SowError(f"Bad dtype {dtype!r}: expected one of {', '.join(DTYPES)}.")
    if dtype == "float16" and kind == "cpu":
        say("note: float16 on a CPU is several times slower than float32; leave --dtype out.")
    precision = getattr(torch, dtype or ("float16" if kind == "cuda" else "float32"))
    asked = {"model": str(model), "model_config": None if config is None else str(config), "dtype": dtype,
             "device": device}  # fmt: skip
    with quiet_libraries(bars=download):
        try:
            backend = open_backend(model, device=where, dtype=precision, download=download, config=config)
        except Exception as error:
            if is_out_of_memory(error):
                raise SowError(
                    f"Out of memory while loading {model} on {where}; use --dtype float16, or another device."
                ) from None
            raise
    return Model(backend, asked)


class Model:
    """A model, ready to make pictures. `backend` is the engine's view of it, for those who drive the engine."""

    def __init__(self, backend: ModelBackend, asked: Mapping[str, Any]) -> None:
        self.backend = backend
        self.asked = dict(asked)
        """How it was loaded, as a picture's settings repeat it."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in px that the model was trained at."""
        return self.backend.size

    def __call__(
        self,
        condition: Picture | Sequence[Picture],
        *,
        prompt: str | None = None,
        mask: Picture | None | Sequence[Picture | None] = None,
        box: Box | str | tuple[float, float, float, float] | Sequence[Box | None] | None = None,
        seeds: Sequence[int] = (0,),
        preset: str = "normal",
        plan: LayoutPlan | str | Path | None = None,
        settings: Mapping[str, Any] | SowConfig | None = None,
        progress: Callable[[Event], object] | None = None,
        **others: Any,
    ) -> Made:
        """Keep a picture, or several, and grow the scene of `prompt` around them: one result per seed.

        condition: a file, a PIL picture, or a list of them; mask: the same, white = keep (default: the alpha, else
        all). box: where each goes, (x, y, width, height) in px, a list for several conditions; what has none is placed
        by `planner` ("offline", "gemini", "none"). plan: a layout plan, or its file, instead. settings: changes to the
        preset by name, {"cycles": 3, "modulation.enhance": 2}, or a whole SowConfig in its place.
        progress: sees every event of the engine; what it raises stops the run and leaves the model as it was.
        others: negative, related, planner, size ("WxH" or (w, h)), background, steps, cycles, cfg, no_attention,
        suppress, diverse, paste_back, as on the command line. Raises SowError, in one line, for bad input.
        """
        from ..method.config import SowConfig

        several = isinstance(condition, (list, tuple))
        base = settings if isinstance(settings, SowConfig) else None
        changes = settings if isinstance(settings, Mapping) else {}
        options = Options.named({
            "condition": list(condition) if several else [condition],  # type: ignore[arg-type]
            "mask": list(mask) if several and isinstance(mask, (list, tuple)) else None if mask is None else [mask],
            "box": list(box) if several and isinstance(box, (list, tuple)) else None if box is None else [box],
            "prompt": prompt, "seeds": seeds, "preset": preset, "plan": plan,
            "settings": [f"{name}={_text(value)}" for name, value in changes.items()],
            **others,
        })  # fmt: skip
        return self.make(check(options, base), progress)

    def make(
        self,
        job: Job,
        progress: Callable[[Event], object] | None = None,
        say: Callable[[str], object] = log.warning,
    ) -> Made:
        """Do a job: recommendations, planning, layout, sampling, paste-back. `say` is told what the user may want to
        know (a prompt that is cut off, what a plan reports). Raises SowError for bad input and for lack of memory."""
        with quiet_libraries():
            job.recommend(self.backend.parts.recommended)
            size = job.size or self.size
            try:
                return self._made(job, size, progress, say)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                raise SowError(
                    f"Out of memory at {size[0]}x{size[1]} with {len(job.seeds)} pictures on {self.backend.device}; "
                    "lower --size or --count, or use --dtype float16."
                ) from None

    def _made(
        self,
        job: Job,
        size: tuple[int, int],
        progress: Callable[[Event], object] | None,
        say: Callable[[str], object],
    ) -> Made:
        check_size(*size, self.backend.parts.snap)
        plan = place(job, size, self.backend.token_count, say)
        layout = make_canvas(job, size, self.backend.parts.cell, self.backend.parts.snap)
        tokens = self.backend.token_count(job.prompt)
        if tokens > self.backend.prompt_tokens:
            say(f"note: the prompt has {tokens} tokens; the model reads the first {self.backend.prompt_tokens}.")
        said = note({"--prompt": job.prompt, "--negative": job.negative, **{f"--{k}": v for k, v in job.extra.items()}})
        if said:
            say(said)
        if job.config.guidance == 1 and job.options.negative:
            say("note: without guidance (cfg 1) the negative prompt has no effect.")
        self.backend.set_prompts({"positive": job.prompt, "negative": job.negative, **job.extra})
        self.backend.set_concepts(job.concepts)
        with self._patched(job):
            result = self._sample(job, layout, progress)
        pixels = result.images
        if job.options.paste_back is not None:
            from ..method.condition import kept_mask
            from ..pictures.composite import paste_back

            pixels = paste_back(pixels.cpu(), layout.canvas, kept_mask(layout), job.options.paste_back)
        if job.only is not None:
            pixels = pixels[job.only : job.only + 1]
        return Made(job, size, plan, layout, result, pixels, self.backend, self.asked)

    def _patched(self, job: Job) -> AbstractContextManager[None]:
        from ..backends.patches import patched, read_patch

        if job.patch is None:
            return nullcontext()
        file, strength = job.patch
        unet = getattr(self.backend.parts, "unet", None)
        if unet is None:
            raise SowError("--patch changes the cross-attention of a Stable Diffusion UNet; this model has none.")
        return patched(unet, read_patch(file, unet), strength)

    def _sample(self, job: Job, layout: Any, progress: Callable[[Event], object] | None) -> Painted:
        from ..backends.painting import paint
        from ..method.plan import build_plan

        return paint(build_plan(job.config, len(job.conditions)), self.backend, layout, job.seeds, progress)


def _text(value: Any) -> str:
    """A setting's value as `--set` writes it."""
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
