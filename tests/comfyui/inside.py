"""Runs the cases that need ComfyUI in the same process; test_native.py starts it with ComfyUI's interpreter.

`python inside.py WORKDIR` runs every case (or those named in CASES) and ends with one line of JSON:
{case: results}, or {case: {"error": traceback}}.
"""

from __future__ import annotations

import json
import os
import traceback
from typing import Any

from native_cases import (  # noqa: F401  (they register their cases)
    agreement,
    cleanliness,
    composed,
    flow,
    flow_families,
    flow_folder,
    grounding,
    guests,
    judging,
    loading,
    patches,
    separate,
    sizes,
)
from native_cases.common import CASES

if __name__ == "__main__":
    chosen = os.environ.get("CASES", "").split(",") if os.environ.get("CASES") else list(CASES)
    results: dict[str, Any] = {}
    for name in chosen:
        try:
            results[name] = CASES[name]()
        except Exception:
            results[name] = {"error": traceback.format_exc()}
    print(json.dumps(results))
