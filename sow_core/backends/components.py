"""The parts of a loaded model, and how a library's complaint about a file becomes one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SowError
from ..memory import is_out_of_memory
from ..method.advice import Advice


@dataclass
class Components:
    """The parts of one model; `encoders` are (tokenizer, text encoder) pairs: one, or SDXL's two."""

    name: str
    unet: Any
    vae: Any
    encoders: list[tuple[Any, Any]]
    scheduler_config: dict[str, Any]
    zero_empty: bool = False
    """SDXL's force_zeros_for_empty_prompt."""
    recommended: Advice = field(default_factory=Advice)
    """What the folder's sow.json recommends, for models that are not SD's size."""

    @property
    def sdxl(self) -> bool:
        return len(self.encoders) == 2


def json_object(path: Path) -> dict[str, Any]:
    """A JSON file's object. Raises SowError if there is none."""
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SowError(f"{path} is missing; fetch the model again.") from None
    except (OSError, ValueError) as error:
        raise SowError(f"Cannot read {path} as JSON ({_short(error)}); restore the file.") from error
    if not isinstance(made, dict):
        raise SowError(f"Cannot read {path}: expected a JSON object.")
    return made


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn what libraries raise for damaged or missing files into one line."""
    from safetensors import SafetensorError

    try:
        yield
    except SowError:
        raise
    except (SafetensorError, OSError, ValueError, LookupError, RuntimeError, TypeError, AttributeError) as error:
        if is_out_of_memory(error):
            raise
        raise SowError(f"Cannot load {name}: {_short(error)}") from error


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else text[:160] + "..."
