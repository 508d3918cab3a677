"""Finding a picture in the host's own folders: which there are, the index of one, the search. No schema."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from ..sow_core.errors import SowError
from ..sow_core.method.condition import to_picture, to_tensor
from ..sow_core.pictures.reading import load_mask, load_picture
from ..sow_core.pictures.sheet import contact_sheet
from ..sow_core.retrieval.build import list_pictures, mask_beside, update
from ..sow_core.retrieval.find import Found, Query, composed, fused, look_up
from ..sow_core.retrieval.guidance import Guidance
from ..sow_core.retrieval.index import NAME, is_inside, read_index
from .draw import from_picture

EXAMPLES = Path(__file__).parent.parent / "pictures" / "gallery"
PLACES = ("examples", "input", "output")
"""The pack's own gallery and ComfyUI's two folders: nothing else can be searched, whatever a workflow says."""
DEMO = "demo"
CLIP_FOLDERS = "clip_vision"
"""Kind of the host's model folders in which CLIP models of transformers are looked for."""
SHEET = 24


def encoders() -> list[str]:
    """The names that the node offers: the demo, and folders with a CLIP model under models/clip_vision."""
    return [DEMO, *sorted(clip_folders())]


def clip_folders() -> dict[str, str]:
    """CLIP models of transformers under models/clip_vision: the path by the name below it."""
    import folder_paths

    found: dict[str, str] = {}
    for root in folder_paths.get_folder_paths(CLIP_FOLDERS):
        for parent, children, files in os.walk(root, followlinks=True):
            if "config.json" in files and any(f.startswith("tokenizer") or f == "vocab.json" for f in files):
                found.setdefault(os.path.relpath(parent, root).replace(os.sep, "/"), parent)
                children.clear()
    return found


def folder_of(place: str, subfolder: str) -> Path:
    """The folder to search. Raises SowError if it is none of the host's, or does not exist."""
    import folder_paths

    roots = {"examples": lambda: str(EXAMPLES), "input": folder_paths.get_input_directory,
             "output": folder_paths.get_output_directory}  # fmt: skip
    if place not in roots:
        raise SowError(f"Bad place {place!r}: expected {', '.join(PLACES)}.")
    root = os.path.realpath(roots[place]())
    below = subfolder.strip().replace("\\", "/").strip("/") if not os.path.isabs(subfolder.strip()) else "\0"
    if below and not is_inside(below):
        raise SowError(f"Bad folder {subfolder!r}: expected the name of a folder below ComfyUI's {place} folder.")
    path = os.path.realpath(os.path.join(root, below)) if below else root
    if path != root and not path.startswith(root.rstrip(os.sep) + os.sep):
        raise SowError(f"Bad folder {subfolder!r}: it leads out of ComfyUI's {place} folder.")
    if not os.path.isdir(path):
        raise SowError(f"There is no folder {subfolder!r} in ComfyUI's {place} folder.")
    return Path(path)


def state_of(place: str, subfolder: str) -> str:
    """Text that changes when a picture of the folder does, so that the host searches again."""
    try:
        listed = list_pictures(folder_of(place, subfolder))
    except SowError as error:
        return str(error)
    made = hashlib.sha256()
    for name, state in listed:
        made.update(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return made.hexdigest()


class Wish(NamedTuple):
    """What the node's widgets say. Negative numbers take the method's own."""

    method: str
    image_weight: float
    text_weight: float
    source_weight: float
    steps: int
    seed: int


class FoundPicture(NamedTuple):
    """What the node gives: [1, H, W, 3], [1, H, W], the name, its score, a sheet [1, h, w, 3], a line of report."""

    image: Tensor
    mask: Tensor
    name: str
    score: float
    sheet: Tensor
    report: str


def query_of(image: Tensor | None, mask: Tensor | None, text: str, without: str) -> Query:
    """The host's tensors as a query. Raises SowError where they do not fit."""
    if image is not None and (image.ndim != 4 or image.shape[0] != 1):
        raise SowError(f"Bad image: expected one picture, got {list(image.shape)}; choose one of the batch.")
    if mask is not None and (mask.ndim != 3 or mask.shape[0] != 1):
        raise SowError(f"Bad mask: expected one mask, got {list(mask.shape)}; choose one of the batch.")
    picture = None if image is None else to_picture(image[0, ..., :3].movedim(-1, 0)).convert("RGB")
    hidden = None if mask is None else to_picture(mask[0])
    if picture is not None and hidden is not None and hidden.size == (64, 64) != picture.size:
        if not hidden.getbbox():  # what Load Image gives for a picture without alpha
            hidden = None
    return Query(picture, hidden, text, without)


def find(folder: Path, encoder_name: str, query: Query, wish: Wish, rank: int, top: int) -> FoundPicture:
    """Bring the folder's index up to date, search it, and open the picture at `rank`. Raises SowError, or the host's
    own interruption."""
    encoder = _load(encoder_name)
    file = _index_file(folder, encoder.name)
    lines: list[str] = []
    report = update(folder, file, encoder, progress=_progress(), tell=lines.append)
    vector = _vector(query, encoder, wish)
    answer = look_up(folder, read_index(file), encoder, vector, max(top, rank) + 1, file)
    found = [f for f in answer.found if not _same(folder / f.name, query.picture)][: max(top, rank)]
    if rank > len(found):
        raise SowError(f"Bad rank {rank}: only {len(found)} pictures were found in {folder.name}.")
    chosen = found[rank - 1]
    picture, kept = load_picture(folder / chosen.name)
    beside = mask_beside(folder / chosen.name)
    mask = torch.ones(picture.height, picture.width) if kept is None else to_tensor(kept)
    if beside is not None:
        own = load_mask(beside)
        if own.size != picture.size:
            raise SowError(f"Bad mask size. Expected {picture.width}x{picture.height}, as {chosen.name}, "
                           f"got {own.width}x{own.height} from {beside.name}.")
        mask = to_tensor(own)
    return FoundPicture(
        to_tensor(picture).movedim(0, -1)[None].contiguous(), mask[None], chosen.name, chosen.score,
        from_picture(_sheet(folder, query, found[:top])), "\n".join([report.line(), *lines]),
    )  # fmt: skip


def _load(name: str) -> Any:
    from ..sow_core.retrieval.encoders import load_encoder

    if name == DEMO:
        return load_encoder(DEMO)
    found = clip_folders().get(name)
    if found is None:
        raise SowError(f"No encoder {name!r}: expected one of {', '.join(encoders())[:200]}.")
    return load_encoder(found)


def _index_file(folder: Path, encoder: str) -> Path:
    """Beside the pictures; the examples' in the host's temporary folder, since a pack's own may be read-only."""
    if folder.resolve() != EXAMPLES.resolve():
        return folder / (NAME if encoder == DEMO else NAME.replace(".safetensors", f"_{encoder[:60]}.safetensors"))
    import folder_paths

    temporary = Path(folder_paths.get_temp_directory())
    temporary.mkdir(parents=True, exist_ok=True)
    return temporary / f"sow_gallery_{encoder[:60]}.safetensors"


def _vector(query: Query, encoder: Any, wish: Wish) -> Tensor:
    def own(value: float, known: float) -> float:
        return known if value < 0 else value

    if wish.method == "fusion":
        return fused(query, encoder, own(wish.image_weight, 1.0), own(wish.text_weight, 1.0))
    if encoder.name != DEMO:
        raise SowError("The embedded prior belongs to the demo encoder; choose the method fusion for a CLIP model (the "
                       "command line takes a prior of its own: sow find --prior).")
    from ..sow_core.retrieval.checkpoint import load_prior
    from ..sow_core.retrieval.priors import prior_file

    prior = load_prior(prior_file(DEMO))
    known = prior.guidance
    guidance = Guidance(
        own(wish.image_weight, known.image), own(wish.text_weight, known.text),
        known.steps if wish.steps < 1 else wish.steps, known.samples,
        source=None if wish.source_weight < 0 else wish.source_weight,
    )  # fmt: skip
    # Negative seeds do not exist here, and torch takes 63 bits.
    return composed(query, encoder, prior, guidance, wish.seed % 2**63)


def _same(path: Path, picture: Image.Image | None) -> bool:
    """Whether a file shows the query itself, which is no answer: the host gives pixels, not the file's name."""
    if picture is None:
        return False
    found = load_picture(path)[0]
    return found.size == picture.size and found.tobytes() == picture.tobytes()


def _sheet(folder: Path, query: Query, answers: list[Found]) -> Image.Image:
    tiles = []
    if query.picture is not None:
        tiles.append((query.text or "query", query.picture))
    for number, found in enumerate(answers[:SHEET], 1):
        tiles.append((f"{number}: {found.score:.3f} {found.name}", load_picture(folder / found.name)[0]))
    return contact_sheet(tiles)


def _progress() -> Callable[[int, int], None]:
    """The host's bar while pictures are embedded; it raises in it when the user has cancelled."""
    import comfy.model_management
    import comfy.utils

    bars: list[Any] = []

    def report(done: int, total: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        if not bars:
            bars.append(comfy.utils.ProgressBar(total))
        bars[0].update_absolute(done, total)

    return report
