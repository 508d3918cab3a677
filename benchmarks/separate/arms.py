"""What is compared: nothing, guidance at several strengths, a tuned patch, both."""

from __future__ import annotations

from typing import NamedTuple

from sow_core.method.plan import Plan, with_separation
from sow_core.method.separation import Separation

from ..quality.peers import text_to_image


class Arm(NamedTuple):
    """strength: of the guidance, 0 off; patch: strength of the tuned keys, 0 off."""

    name: str
    strength: float = 0.0
    patch: float = 0.0


ARMS = (
    Arm("plain"),
    Arm("guidance .1", 0.1),
    Arm("guidance .3", 0.3),
    Arm("guidance .8", 0.8),
    Arm("patch", patch=1.0),
    Arm("patch + guidance .3", 0.3, 1.0),
)


def plan_of(arm: Arm, steps: int, guidance: float, depth: int) -> Plan:
    """Text-to-image in `steps` DDIM steps, separated in its upper half."""
    plain = text_to_image(steps, guidance)
    wanted = Separation(strength=arm.strength, until=steps // 2, depth=depth)
    return Plan(plain.config, tuple(with_separation(list(plain.ops), wanted)))
