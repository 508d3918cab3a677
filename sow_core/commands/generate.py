"""`python -m sow_core generate`: from pictures, masks and a text to a finished picture."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..box import CELL, Box
from ..errors import SowError
from ..files import atomic_write, check_writable
from ..plan import NEGATIVE_PROMPT, PRESETS, SowConfig, build_plan, preset
from ..settings import digest, override, png_bytes, read_settings, with_config

if TYPE_CHECKING:
    from ..backends.diffusers import DiffusersBackend
    from ..condition import Layout
    from ..engine import Result
    from ..planning.schema import LayoutPlan

SETTINGS_VERSION = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--condition", action="append", metavar="IMG", help="a picture to keep; repeat for several")
    add("--mask", action="append", metavar="IMG", help="its mask, white = keep (default: its alpha, else all of it)")
    add("--prompt", metavar="TEXT", help="the scene")
    add("--negative", metavar="TEXT", help="what to avoid (default: the paper's negative prompt)")
    add("--suppress", metavar="TEXT", help="four-row guidance: what the surroundings must not repeat (cow_official)")
    add("--diverse", metavar="TEXT", help="four-row guidance: what the surroundings should have (cow_official)")
    add("--box", action="append", metavar="X,Y,W,H", help="where a condition goes, px; one per --condition, in order")
    add("--related", action="append", metavar="[N:]X,Y,W,H",
        help="a place that continues condition N (default 1) in the finished picture; repeatable")
    add("--plan", metavar="FILE.json", help="boxes, related regions and prompt from a plan file")
    add("--planner", choices=("offline", "gemini", "none"),
        help="who places what has no box (default: offline; gemini sends the masked picture and prompt to Google)")
    add("--model", metavar="MODEL", help="demo, a diffusers folder, a .safetensors checkpoint or a hub id")
    add("--config", metavar="FOLDER", help="for a checkpoint: a diffusers folder of its family (layout, tokenizer)")
    add("--download", action="store_true", help="allow a hub id to be downloaded; otherwise only local files are read")
    add("--preset", metavar="NAME", help=f"one of {', '.join(PRESETS)} (default: normal)")
    add("--steps", type=int, metavar="N", help="DDIM steps of the whole noise range; levels move along")
    add("--cycles", type=int, metavar="N", help="cycles of one-way diffusion")
    add("--cfg", type=float, metavar="W", help="classifier-free guidance scale")
    add("--no-attention", action="store_true", help="switch attention modulation off")
    add("--set", action="append", default=[], metavar="NAME=VALUE", dest="assignments",
        help="any other setting, for example trajectory=noise or modulation.enhance=2; repeatable")
    add("--size", metavar="WxH", help="canvas px, multiples of 8 (default: the model's own)")
    add("--background", metavar="COLOR|IMG", help="the canvas before pasting: a colour name, #rrggbb or a picture")
    add("--seed", type=int, metavar="N", help="random seed of the first picture (default: 0)")
    add("--count", type=int, metavar="N", help="pictures, with seeds seed, seed+1, ... (default: 1)")
    add("--paste-back", type=int, metavar="PX", help="lay the kept pixels over the result, feathered by PX pixels")
    add("--out", metavar="FILE.png", help="the picture; with --count, FILE_1.png, ... (default: sow.png)")
    add("--sheet", metavar="FILE.png", help="a contact sheet: condition, canvas, each cycle, result")
    add("--report", metavar="FILE.json", help="plan, calls, rows, seconds, indicator, fidelity of the kept region")
    add("--device", metavar="DEVICE", help="cpu, cuda, mps (default: the best there is)")
    add("--dtype", choices=("float32", "float16", "bfloat16"), help="of the UNet (default: float16 on cuda)")
    add("--from", dest="source", metavar="FILE.png", help="repeat a picture from its settings; options given here win")
    add("--quiet", action="store_true", help="no progress bar")


@dataclass
class Job:
    """The arguments, checked and complete, before any weight is loaded."""

    conditions: list[Path]
    masks: list[Path | None]
    prompt: str
    negative: str
    extra: dict[str, str]
    boxes: list[Box | None]
    related: list[list[Box]]
    config: SowConfig
    seeds: list[int]
    out: list[Path]
    sheet: Path | None
    report: Path | None
    size: tuple[int, int] | None


def run(args: argparse.Namespace) -> int:
    """Write the pictures; 0, or SowError in one line and nothing written."""
    if args.source:
        _fill_from(args, read_settings(args.source))
    job = _check(args)
    backend, name = _load_model(args)
    _recommend(args, job, backend.parts.recommended)
    size = job.size or _native_size(backend)
    plan = _plan_layout(args, job, size, backend)
    if plan is not None:
        job.boxes = list(plan.boxes)
        planned = zip(plan.conditions, job.related, strict=True)
        job.related = [given or [r.box for r in c.related] for c, given in planned]
        job.prompt = plan.prompt or job.prompt
        job.negative = plan.negative or job.negative
        if args.planner not in (None, "offline") or args.plan:
            print(plan.report(), file=sys.stderr)
    layout = _layout(args, job, size)
    result = _sample(args, job, backend, layout)
    images = result.images
    if args.paste_back is not None:
        from ..composite import paste_back

        images = paste_back(images, layout, args.paste_back)
    settings = _settings(args, job, size, name, plan)
    _write(job, backend, layout, result, images, settings)
    return 0


def _check(args: argparse.Namespace) -> Job:
    """Everything that can be refused without loading a model."""
    if not args.condition:
        raise SowError("No condition: give --condition IMG, the picture to keep.")
    if not args.prompt and not args.plan:
        raise SowError("No prompt: give --prompt TEXT, the scene to grow around the picture.")
    conditions = [Path(p) for p in args.condition]
    masks: list[Path | None] = [Path(p) for p in args.mask or []]
    if len(masks) > len(conditions):
        raise SowError(f"More masks ({len(masks)}) than conditions ({len(conditions)}).")
    boxes: list[Box | None] = [Box.parse(b) for b in args.box or []]
    if len(boxes) > len(conditions):
        raise SowError(f"More boxes ({len(boxes)}) than conditions ({len(conditions)}).")
    planner = args.planner or "offline"
    if planner == "none" and not args.plan and len(boxes) < len(conditions):
        raise SowError(f"More conditions ({len(conditions)}) than boxes ({len(boxes)}); give --box for each, in order.")
    missing = len(conditions) - len(boxes)
    boxes += [None] * missing
    masks += [None] * (len(conditions) - len(masks))
    related: list[list[Box]] = [[] for _ in conditions]
    for text in args.related or []:
        number, colon, rest = text.partition(":")
        index = int(number) if colon and number.strip().isdigit() else 1
        if not 1 <= index <= len(conditions):
            raise SowError(f"Bad --related {text!r}: there is no condition {index}.")
        related[index - 1].append(Box.parse(rest if colon else text, "related region"))
    config = preset(args.preset or "normal")
    if args.steps is not None:
        config = with_config(config, steps=args.steps) if args.steps < 1 else config.with_steps(args.steps)
    config = with_config(config, cycles=args.cycles, guidance=args.cfg)
    if args.no_attention:
        config = override(config, ["modulation=none"])
    config = override(config, args.assignments)
    extra = {k: v for k, v in (("suppress", args.suppress), ("diverse", args.diverse)) if v is not None}
    if config.extra_rows and len(extra) < 2:
        raise SowError(
            "Four-row guidance needs two prompts: --suppress TEXT (for a face, the predecessor used "
            "\"human face\") and --diverse TEXT; or switch it off with --set extra_rows=false."
        )
    count = 1 if args.count is None else args.count
    if not 1 <= count <= 64:
        raise SowError(f"Bad --count {count}: expected 1 to 64.")
    if args.paste_back is not None and not 0 <= args.paste_back <= 256:
        raise SowError(f"Bad --paste-back {args.paste_back}: expected 0 to 256 px.")
    seed = 0 if args.seed is None else args.seed
    out = check_writable(args.out or "sow.png")
    if out.suffix.lower() != ".png":
        raise SowError(f"Bad --out {out}: expected a name that ends in .png.")
    outs = [out] if count == 1 else [check_writable(out.with_stem(f"{out.stem}_{n}")) for n in range(1, count + 1)]
    size = _parse_size(args.size) if args.size else None
    if size:
        _check_boxes(size, boxes, related)
    return Job(
        conditions=conditions,
        masks=masks,
        prompt=args.prompt or "",
        negative=NEGATIVE_PROMPT if args.negative is None else args.negative,
        extra=extra,
        boxes=boxes,
        related=related,
        config=config,
        seeds=[seed + n for n in range(count)],
        out=outs,
        sheet=check_writable(args.sheet) if args.sheet else None,
        report=check_writable(args.report) if args.report else None,
        size=size,
    )


def _parse_size(text: str) -> tuple[int, int]:
    parts = text.lower().replace("×", "x").split("x")
    try:
        width, height = (int(p) for p in parts)
    except ValueError:
        raise SowError(f"Bad --size {text!r}: expected WxH, for example 512x512.") from None
    for value in (width, height):
        if value % CELL or not 64 <= value <= 8192:
            raise SowError(f"Bad --size {text}: expected multiples of {CELL} from 64 to 8192 px.")
    return width, height


def _check_boxes(size: tuple[int, int], boxes: list[Box | None], related: list[list[Box]]) -> None:
    for box in [b for b in boxes if b is not None]:
        if not box.inside(*size):
            raise SowError(f"The box {box} lies outside the {size[0]}x{size[1]} canvas; move or shrink it.")
    for area in (b for group in related for b in group):
        if area.clip(*size).area == 0:
            raise SowError(f"The related region {area} lies outside the {size[0]}x{size[1]} canvas; move it.")


def _load_model(args: argparse.Namespace) -> tuple[DiffusersBackend, str]:
    import torch

    from ..backends.diffusers import DiffusersBackend

    device = args.device or _best_device()
    try:
        kind = torch.device(device).type
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0][:100]
        raise SowError(f"The device {device!r} cannot be used here ({reason}); try --device cpu.") from None
    dtype = getattr(torch, args.dtype or ("float16" if kind == "cuda" else "float32"))
    name = args.model or "demo"
    backend = DiffusersBackend.load(name, device=device, dtype=dtype, download=args.download, config=args.config)
    return backend, name


def _recommend(args: argparse.Namespace, job: Job, values: Mapping[str, Any]) -> None:
    """A model folder's own recommendations (sow.json), where the user and the preset's name say nothing else."""
    if args.negative is None and "negative" in values:
        job.negative = str(values["negative"])
    chosen = any(a.partition("=")[0].strip() == "guidance" for a in args.assignments)
    if args.cfg is None and not chosen and "guidance" in values:
        job.config = with_config(job.config, guidance=float(values["guidance"]))


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _native_size(backend: DiffusersBackend) -> tuple[int, int]:
    side = int(backend.parts.unet.config.sample_size or 64) * CELL
    return side, side


def _plan_layout(
    args: argparse.Namespace, job: Job, size: tuple[int, int], backend: DiffusersBackend
) -> LayoutPlan | None:
    """The plan file's layout, or the planner's for what has no box; None if there is nothing to plan."""
    from .placing import make_plan, saved_plan

    if args.plan:
        return saved_plan(args.plan, job, size)
    planner = args.planner or "offline"
    return None if planner == "none" else make_plan(planner, job, size, backend.token_count)


def _layout(args: argparse.Namespace, job: Job, size: tuple[int, int]) -> Layout:
    from ..condition import load_condition, make_layout

    boxes = [b for b in job.boxes if b is not None]
    _check_boxes(size, job.boxes, job.related)
    conditions = [
        load_condition(image, mask, box, related)
        for image, mask, box, related in zip(job.conditions, job.masks, boxes, job.related, strict=True)
    ]
    background = _background(args.background, size) if args.background else None
    return make_layout(
        conditions, *size, background=background, coverage=job.config.coverage, fill=job.config.fill
    )


def _background(text: str, size: tuple[int, int]) -> Any:
    from PIL import Image, ImageColor

    from ..condition import to_tensor
    from ..pictures import load_picture

    if not Path(text).exists():
        try:
            red, green, blue = ImageColor.getrgb(text)[:3]
        except ValueError:
            raise SowError(f"Bad --background {text!r}: expected a colour name, #rrggbb, or a picture.") from None
        return (red / 255, green / 255, blue / 255)
    picture = load_picture(text)[0]
    return to_tensor(picture.resize(size, Image.Resampling.LANCZOS))


def _sample(args: argparse.Namespace, job: Job, backend: DiffusersBackend, layout: Layout) -> Result:
    import torch
    from tqdm import tqdm

    from ..engine import Event, generate

    backend.set_prompts({"positive": job.prompt, "negative": job.negative, **job.extra})
    plan = build_plan(job.config, len(job.conditions))
    with tqdm(total=plan.cost.calls, unit="call", file=sys.stderr, disable=args.quiet, leave=True) as bar:

        def progress(event: Event) -> None:
            bar.set_description(event.phase if event.cycle is None else f"{event.phase} {event.cycle + 1}")
            bar.update(event.call - bar.n)

        try:
            return generate(plan, backend, layout, job.seeds, progress)
        except torch.OutOfMemoryError:
            raise SowError(
                f"Out of memory at {layout.width}x{layout.height} with {len(job.seeds)} pictures on {backend.device}; "
                "lower --size or --count, or use --dtype float16."
            ) from None


def _settings(
    args: argparse.Namespace, job: Job, size: tuple[int, int], model: str, plan: LayoutPlan | None
) -> dict[str, Any]:
    """What repeats the pictures: enough for `--from`, nothing about the machine beyond names given to it."""
    return {
        "settings": SETTINGS_VERSION,
        "version": __version__,
        "model": model,
        "model_config": args.config,
        "conditions": [
            {
                "image": str(image),
                "sha256": digest(image),
                "mask": None if mask is None else str(mask),
                "mask_sha256": None if mask is None else digest(mask),
                "box": str(box),
                "related": [str(r) for r in related],
            }
            for image, mask, box, related in zip(job.conditions, job.masks, job.boxes, job.related, strict=True)
        ],
        "prompt": job.prompt,
        "negative": job.negative,
        "extra_prompts": job.extra,
        "size": list(size),
        "background": args.background,
        "seeds": job.seeds,
        "paste_back": args.paste_back,
        "preset": args.preset or "normal",
        "config": job.config.as_dict(),
        "dtype": args.dtype,
        "device": args.device,
        "plan": plan.as_dict() if plan is not None else getattr(args, "saved_plan", None),
    }


def _fill_from(args: argparse.Namespace, saved: dict[str, Any]) -> None:
    """Give every option that the user left out the value it had when the picture was made."""
    try:
        changed_layout = bool(args.condition or args.box or args.plan or args.planner)
        conditions = saved["conditions"]
        defaults: dict[str, Any] = {
            "prompt": saved["prompt"],
            "negative": saved["negative"],
            "suppress": saved["extra_prompts"].get("suppress"),
            "diverse": saved["extra_prompts"].get("diverse"),
            "model": saved["model"],
            "config": saved["model_config"],
            "size": "x".join(str(n) for n in saved["size"]),
            "background": saved["background"],
            "seed": saved["seeds"][0],
            "count": len(saved["seeds"]),
            "paste_back": saved["paste_back"],
            "dtype": saved["dtype"],
            "device": saved["device"],
        }
        if not changed_layout:
            for item in conditions:
                for path, expected in ((item["image"], item["sha256"]), (item["mask"], item["mask_sha256"])):
                    if path is not None:
                        _same_file(Path(path), expected)
            defaults["condition"] = [c["image"] for c in conditions]
            defaults["mask"] = [c["mask"] for c in conditions] if all(c["mask"] for c in conditions) else None
            defaults["box"] = [c["box"] for c in conditions]
            defaults["related"] = [f"{n}:{r}" for n, c in enumerate(conditions, 1) for r in c["related"]]
            defaults["planner"] = "none"
            args.saved_plan = saved["plan"]
        if args.preset is None:
            args.preset = saved["preset"]
            changes = flatten(saved["config"], preset(args.preset).as_dict())
            args.assignments = [*changes, *args.assignments]
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        text = f"The settings in {args.source} are from another version ({error}); give the options by hand."
        raise SowError(text) from error
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)


def flatten(values: dict[str, Any], base: dict[str, Any], prefix: str = "") -> list[str]:
    """The assignments that turn the settings `base` into `values`: ["cycles=5", "modulation.enhance=2.0"]."""
    made = []
    for name, value in values.items():
        before = base.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            made += flatten(value, before, f"{prefix}{name}.")
        elif value != (list(before) if isinstance(before, tuple) else before):
            text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            made.append(f"{prefix}{name}={text or 'none'}")
    return made


def _same_file(path: Path, expected: str) -> None:
    if not path.is_file():
        raise SowError(f"The picture was made from {path}, which is not here; give --condition and --mask.")
    if digest(path) != expected:
        raise SowError(f"{path} has changed since the picture was made; give --condition and --mask to use it anyway.")


def _write(
    job: Job, backend: DiffusersBackend, layout: Layout, result: Result, images: Any, settings: dict[str, Any]
) -> None:
    from ..condition import to_picture

    for number, path in enumerate(job.out):
        own = settings | {"seeds": [job.seeds[number]]}
        atomic_write(path, png_bytes(to_picture(images[number]), own))
        print(path)
    if job.sheet is not None:
        atomic_write(job.sheet, png_bytes(_sheet(backend, layout, result, images)))
        print(job.sheet)
    if job.report is not None:
        report = _report(job, layout, result, images, settings)
        atomic_write(job.report, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        print(job.report)


def _sheet(backend: DiffusersBackend, layout: Layout, result: Result, images: Any) -> Any:
    from ..condition import to_picture
    from ..sheet import contact_sheet

    tiles = [(f"condition {n}", to_picture(c.image)) for n, c in enumerate(layout.conditions, 1)]
    tiles.append(("canvas", to_picture(layout.canvas)))
    for cycle, preview in enumerate(result.trace.previews, 1):
        tiles.append((f"cycle {cycle}", to_picture(backend.decode(preview[:1])[0])))
    tiles += [(f"result {n}" if len(images) > 1 else "result", to_picture(x)) for n, x in enumerate(images, 1)]
    return contact_sheet(tiles)


def _report(job: Job, layout: Layout, result: Result, images: Any, settings: dict[str, Any]) -> dict[str, Any]:
    from ..fidelity import psnr, region_error, seam_contrast

    cost = build_plan(job.config, len(job.conditions)).cost
    pictures = []
    for seed, path, image in zip(job.seeds, job.out, images, strict=True):
        error = region_error(image, layout)
        fidelity = {"region_rms": round(error, 5), "region_psnr_db": round(psnr(max(error, 1e-6)), 2)}
        fidelity["seam_contrast"] = round(seam_contrast(image, layout), 4)
        pictures.append({"file": str(path), "seed": seed, "fidelity": fidelity})
    return {
        "pictures": pictures,
        "cost": {"calls": cost.calls, "rows": cost.rows, "crop_rows": cost.crop_rows},
        "plan": list(build_plan(job.config, len(job.conditions)).describe()),
        "settings": settings,
        "run": result.trace.as_dict(),
    }
