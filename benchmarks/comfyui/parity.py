"""The native backend against diffusers: rms of the final latents' difference, by setting and family of model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

from common import ROOT, keep

CASES = "folder_equals_diffusers,parity_demo,parity_families,lora"


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        done = subprocess.run(
            [os.environ.get("COMFYUI_PYTHON", sys.executable), str(ROOT / "tests" / "comfyui" / "inside.py"), work],
            env={**os.environ, "CASES": CASES, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=True,
        )  # fmt: skip
    found = json.loads(done.stdout.strip().splitlines()[-1])
    short = {
        case: {name: {k: v[k] for k in ("rms", "std", "indicator_gap")} for name, v in found[case].items()}
        for case in ("parity_demo", "parity_families")
    }
    keep(
        "parity",
        {
            "folder_loader_largest_difference": found["folder_equals_diffusers"],
            **short,
            "lora": found["lora"],
        },
    )


if __name__ == "__main__":
    main()
