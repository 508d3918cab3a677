"""The local cache of the Hugging Face hub, and the hub itself where a download was asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ..errors import SowError
from .checks import check_index
from .components import readable
from .configs import Index, read_config

CONFIGURATION = ("*.json", "*/*.json", "*/*.txt")
"""Files of a diffusers repository without its weights."""


def model_folder(name: str, download: bool) -> Path:
    """The folder of a hub model (owner/name) with everything that loading needs.

    Without `download` only the cache is looked at. Raises SowError if the model is not there, or is of a
    kind that the method cannot use (before its weights are fetched).
    """
    if not download:
        found = cached(name)
        if found is None:
            raise SowError(f"{name} is neither a folder nor in the local hub cache; add --download to fetch it.")
        return found
    from diffusers import DiffusionPipeline
    from huggingface_hub import hf_hub_download

    with readable(name):
        check_index(name, read_config(Path(_quiet(hf_hub_download, name, "model_index.json")), Index))
        # The library knows which of a repository's many files a pipeline needs.
        skipped = {"safety_checker": None, "feature_extractor": None, "image_encoder": None}
        return Path(_quiet(DiffusionPipeline.download, name, use_safetensors=True, **skipped))


def configuration_folder(name: str, download: bool) -> Path | None:
    """The folder of a hub model's configuration and tokenizer; None if it is not cached and may not be fetched."""
    if not download:
        return cached(name)
    from huggingface_hub import snapshot_download

    with readable(name):
        return Path(_quiet(snapshot_download, name, allow_patterns=list(CONFIGURATION)))


def cached(name: str) -> Path | None:
    """The cached snapshot of a hub model, or None."""
    from huggingface_hub import try_to_load_from_cache

    with readable(name):
        index = try_to_load_from_cache(name, "model_index.json")
    return Path(index).parent if isinstance(index, str) else None


@contextmanager
def hub_off() -> Iterator[None]:
    """No request to the hub inside, whatever a library makes of a model's files; as before after it."""
    import huggingface_hub.constants as constants

    with ExitStack() as after:
        after.callback(_set_environment, "HF_HUB_OFFLINE", os.environ.get("HF_HUB_OFFLINE"))
        os.environ["HF_HUB_OFFLINE"] = "1"
        # Versions of transformers before 5 copied the answer into a variable of their own.
        own = sys.modules.get("transformers.utils.hub")
        for module, name in ((constants, "HF_HUB_OFFLINE"), (own, "_is_offline_mode")):
            if hasattr(module, name):
                after.callback(setattr, module, name, getattr(module, name))
                setattr(module, name, True)
        yield


def _set_environment(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _quiet(call: Any, *args: Any, **kwargs: Any) -> Any:
    """`call`, with what its network library raises as an OSError: no connection is a user's error, not ours."""
    try:
        return call(*args, **kwargs)
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("httpx", "requests", "urllib3"):
            raise OSError(str(error)) from error
        raise
