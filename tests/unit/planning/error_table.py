"""Writes docs/planner_errors.md from what really happens. To renew it:
`PYTHONPATH=.:tests python -m unit.planning.error_table`.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from .loopback import Loopback
from .outcomes import CASES, GEMINI_ONLY, SERVICES, Outcome, run_case

FILE = Path(__file__).resolve().parents[3] / "docs" / "planner_errors.md"

HEAD = """# What can go wrong with a planner, and what you see

Made by `tests/unit/planning/error_table.py` from a scripted server and the real packages `google-genai`,
`google-generativeai` and our own OpenAI-compatible client; a test checks that it is still true. The time limits
are shorter than in use, where one request gets 30 s and a whole plan 60 s. **requests** counts what was sent for one
plan, repetitions included.

With `on_failure: offline` (the default) the message becomes a note of an offline plan:
"planned offline because: ...". With `stop` the node or the command ends with it.

| the service | package | requests | kind | what you see |
|---|---|---|---|---|
"""

WORDS = {
    "good": "answers well",
    "fenced": "wraps the JSON in a code fence",
    "prose": "writes prose around the JSON",
    "thought": "sends its thoughts, with a draft in them",
    "swapped-axes": "gives a box as `[ymin, xmin, ymax, xmax]` in thousandths",
    "tiny": "gives a box of 3 px",
    "future-finish": "ends for a reason unknown today",
    "truncated": "is cut off, twice",
    "truncated-then-good": "is cut off, then answers well",
    "out-of-range": "puts the box far outside, twice",
    "out-of-range-then-good": "puts the box far outside, then answers well",
    "empty": "uses up its tokens while thinking",
    "no-candidates": "sends an empty object",
    "safety": "blocks its answer",
    "blocked-prompt": "blocks the request",
    "bad-key": "400, key not valid",
    "unauthorized": "401",
    "leaked-key": "403, key reported as leaked",
    "region": "400, region not supported",
    "bad-request": "400, something else",
    "gemini-1.5-pro": "404, the model is retired",
    "quota-minute": "429 per minute, wait 0.3 s, then good",
    "quota-minute-long": "429 per minute, wait 47 s",
    "quota-day": "429 per day",
    "error-500": "500",
    "overloaded-then-good": "503, then good",
    "html-502": "502 with a web page",
    "html-200": "200 with a web page (a login page in between)",
    "redirect": "307 to another host",
    "slow": "does not answer in time",
    "dropped": "drops the connection",
    "refused": "is not there",
}


def shown(outcome: Outcome) -> tuple[str, str, str]:
    """Requests, kind and words of one row."""
    said = outcome.said.replace("|", "/") or "a plan"
    if outcome.plan and outcome.said:
        said = f"a plan; note: {said}"
    return str(outcome.requests), outcome.kind or "-", said


@functools.cache
def documented() -> dict[tuple[str, str], tuple[str, ...]]:
    """The rows of the file, by case and service."""
    rows: dict[tuple[str, str], tuple[str, ...]] = {}
    words = {text: case for case, text in WORDS.items()}
    for line in FILE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0] in words:
            for service in cells[1].split(", "):
                rows[words[cells[0]], service] = tuple(cells[2:])
    return rows


def main() -> None:
    rows = []
    for case in CASES:
        same: dict[tuple[str, str, str], list[str]] = {}
        for service in SERVICES:
            if service == "openai-compatible" and case in GEMINI_ONLY:
                continue
            with Loopback() as elsewhere, Loopback(elsewhere=elsewhere.base) as server:
                with tempfile.TemporaryDirectory() as folder:
                    outcome = run_case(service, case, server, Path(folder))
            same.setdefault(shown(outcome), []).append(service)
        for cells, services in same.items():
            rows.append(" | ".join(("", WORDS[case], ", ".join(services), *cells, "")).strip())
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(HEAD + "\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
