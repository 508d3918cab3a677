"""A progress bar on stderr (tqdm, which diffusers brings along)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def bar(items: Iterable[T], total: int | None = None, title: str = "", start: int = 0) -> Iterator[T]:
    from tqdm import tqdm

    yield from tqdm(items, total=total, desc=title, initial=start, mininterval=2.0, dynamic_ncols=True)
