"""Which encoder made an index: the embedded one's name, and what changes with the weights of any."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import SowError
from ..outside.reading import open_file

DEMO = "demo"
"""Name of the embedded encoders."""
SAMPLE = 1 << 20
"""Bytes at the start, in the middle and at the end of a weights file that its identity is made of."""


def weights_identity(kind: str, files: Sequence[Path]) -> str:
    """`kind:` and a hash of the files' lengths, and of their starts, middles and ends (large files are not read
    whole: an index is opened often)."""
    made = hashlib.sha256()
    for path in files:
        try:
            with open_file(path, "the weights") as file:
                size = os.fstat(file.fileno()).st_size
                made.update(f"{path.name}:{size};".encode())
                for at in (0, size // 2, max(size - SAMPLE, 0)):
                    file.seek(at)
                    made.update(file.read(SAMPLE))
        except OSError as error:
            raise SowError(f"Cannot read {path}: {error.strerror or error}; fetch the model again.") from error
    return f"{kind}:{made.hexdigest()[:24]}"
