"""From faces and prompts to the lines of a jobs file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sow_core.errors import SowError
from sow_core.outside.reading import read_json_file
from sow_core.planning.planner import PlannerOptions, plan_layout
from sow_core.planning.request import ConditionPicture, PlanRequest
from sow_core.planning.schema import Frame, LayoutPlan

from .faces import Face
from .variants import COUNT, PROMPTS, SETTINGS, Variant


@dataclass(frozen=True)
class Case:
    """A face in a setting: its cut-out, the plain prompt, and where the planner puts it with which prompt."""

    id: str
    setting: str
    face: Face
    condition: Path
    prompt: str
    plan: LayoutPlan
    seed: int

    def job(
        self, variant: Variant, folder: Path, presets: Mapping[str, str], common: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The line of a jobs file in `folder`; its id says case and variant. presets: of the settings."""
        planned = self.plan.conditions[0]
        return {
            "id": f"{self.id}-{variant.name}",
            "condition": self.condition.relative_to(folder).as_posix(),
            "prompt": self.plan.prompt if variant.intensify else self.prompt,
            "box": str(planned.box),
            "related": [f"1:{region.box}" for region in planned.related],
            "planner": "none",
            "size": f"{self.plan.frame.width}x{self.plan.frame.height}",
            "preset": variant.preset or presets[self.setting],
            "seed": self.seed,
            "count": COUNT,
            **common,
            "set": [*common.get("set", ()), *variant.settings],
            **variant.job,
        }


def make_cases(
    faces: Sequence[tuple[Face, Path]],
    settings: Sequence[str],
    frame: Frame,
    planner: str,
    sexes: Mapping[str, str],
    prompts: Mapping[str, Sequence[str]],
) -> Iterator[Case]:
    """Every face in every setting, its prompt by its number; planned as a face. Raises SowError."""
    options = PlannerOptions(planner=planner)
    for number, (face, condition) in enumerate(faces):
        picture = ConditionPicture.open(condition, kind="face")
        for setting in settings:
            words = prompts[setting]
            prompt = words[number % len(words)].replace("{who}", sexes.get(face.name, "person"))
            plan = plan_layout(PlanRequest(prompt, (picture,), frame), options)
            yield Case(f"{setting}-{face.name}", setting, face, condition, prompt, plan, COUNT * number)


def read_prompts(path: Path | None) -> Mapping[str, Sequence[str]]:
    """The prompts of each setting: ours, or a file's {"normal": [...], ...}; {who} is a man, a woman or a person."""
    if path is None:
        return PROMPTS
    values = read_json_file(path, "the prompts")
    fine = isinstance(values, dict) and all(
        isinstance(values.get(s), list) and values[s] and all(isinstance(p, str) and p.strip() for p in values[s])
        for s in SETTINGS
    )
    if not fine:
        wanted = ", ".join(SETTINGS)
        raise SowError(f"Bad prompts in {path}: expected an object with a list of texts for each of {wanted}.")
    return values


def jobs_text(jobs: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(job, ensure_ascii=False) + "\n" for job in jobs)
