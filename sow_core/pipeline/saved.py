"""The settings inside a PNG as a checked record: anybody may have written them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from ..errors import SowError
from ..method.box import SIDES, Box
from ..method.config import SowConfig
from ..method.presets import preset
from ..outside.records import Length, Within, read_record
from ..outside.text import one_line
from ..settings import read_settings

SETTINGS_VERSION = 2
"""1 had paths, and one seed, whatever the batch. Both are read."""

Name = Annotated[str, Length(1, 4000)]
Text = Annotated[str, Length(most=100_000)]
Sha = Annotated[str, Length(64, 64)]


@dataclass(frozen=True)
class SavedCondition:
    """A condition's file by name and content (None: it was in memory), and its boxes."""

    image: Name | None
    sha256: Sha | None
    box: Annotated[str, Length(1, 100)]
    mask: Name | None = None
    mask_sha256: Sha | None = None
    related: Annotated[tuple[Annotated[str, Length(1, 100)], ...], Length(most=64)] = ()

    def __post_init__(self) -> None:
        for text in (self.box, *self.related):
            Box.parse(text)


@dataclass(frozen=True)
class SavedExtra:
    suppress: Text | None = None
    diverse: Text | None = None


@dataclass(frozen=True)
class SavedPatch:
    """Weight differences that the run had, and how strongly."""

    file: Name
    sha256: Sha
    strength: Annotated[float, Within(-4, 4)] = 1.0


@dataclass(frozen=True)
class SavedSettings:
    """What repeats a picture. seeds: of its batch, in which it is number `picture`, from 0."""

    settings: Annotated[int, Within(1, SETTINGS_VERSION)]
    model: Name
    conditions: Annotated[tuple[SavedCondition, ...], Length(1, 64)]
    prompt: Text
    negative: Text
    size: Annotated[tuple[Annotated[int, Within(*SIDES)], ...], Length(2, 2)]
    seeds: Annotated[tuple[int, ...], Length(1, 64)]
    preset: Name
    config: dict[str, Any]
    extra_prompts: SavedExtra = field(default_factory=SavedExtra)
    separate: Annotated[tuple[Text, ...], Length(most=64)] = ()
    patch: SavedPatch | None = None
    picture: Annotated[int, Within(0, 63)] = 0
    model_config: Name | None = None
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    device: Annotated[str, Length(1, 40)] | None = None
    background: Name | None = None
    background_sha256: Sha | None = None
    paste_back: Annotated[int, Within(0, 256)] | None = None
    plan: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        preset(self.preset)
        if self.picture >= len(self.seeds):
            raise SowError(f"Bad picture {self.picture}: expected a number below {len(self.seeds)}, as many as seeds.")


def read_saved(source: str) -> tuple[SavedSettings, SowConfig, dict[str, Any] | None]:
    """The settings in a PNG, their config and their plan, all of it checked. Raises SowError."""
    from ..planning.reading import read_plan

    what = f"The settings in {one_line(source)}"
    saved = read_record(SavedSettings, read_settings(source), what)
    try:
        config = SowConfig.from_dict(saved.config)
        plan = None if saved.plan is None else read_plan(saved.plan).as_dict()
    except SowError as error:
        raise SowError(f"{what}: {error}") from None
    return saved, config, plan
