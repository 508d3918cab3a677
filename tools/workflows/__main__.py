"""Write workflows/*.json and their API twins.

    python -m tools.workflows
"""

from __future__ import annotations

import json
from pathlib import Path

from .catalog import WORKFLOWS
from .graph import Graph

ROOT = Path(__file__).resolve().parents[2]
OBJECT_INFO = ROOT / "tests" / "nodes" / "golden" / "object_info.json"
FOLDER = ROOT / "workflows"


def build(name: str) -> Graph:
    graph = Graph(name, json.loads(OBJECT_INFO.read_text(encoding="utf-8")))
    WORKFLOWS[name](graph)
    return graph


def main() -> None:
    (FOLDER / "api").mkdir(parents=True, exist_ok=True)
    for name in WORKFLOWS:
        graph = build(name)
        for path, value in ((FOLDER / f"{name}.json", graph.ui()), (FOLDER / "api" / f"{name}_api.json", graph.api())):
            path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{name}: {len(graph.nodes)} nodes")


if __name__ == "__main__":
    main()
