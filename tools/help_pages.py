"""Write the help pages of the other languages from the translations: web/docs/<NodeId>/<language>.md.

    python -m tools.help_pages

The host shows the page of its language and falls back to web/docs/<NodeId>.md, the full page in English. These have
what the translations have: what the node does, its inputs and outputs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORDS = {"zh": ("输入", "输出", "更多用法、常见问题和错误说明见英文帮助（把 ComfyUI 的语言切换为 English）。")}
"""Per language: the headings, and where there is more."""


def page(language: str, node: dict[str, Any], outputs: list[str]) -> str:
    """A node's page. node: its entry of nodeDefs.json; outputs: their names in English, as the sockets say."""
    inputs_word, outputs_word, more = WORDS[language]
    lines = [f"# {node['display_name']}", "", node["description"], "", f"## {inputs_word}"]
    lines += [f"- **{key}**（{words['name']}）：{words['tooltip']}" for key, words in node.get("inputs", {}).items()]
    lines += ["", f"## {outputs_word}"]
    lines += [f"- **{outputs[int(number)]}**（{words['name']}）：{words['tooltip']}"
              for number, words in node["outputs"].items()]
    return "\n".join([*lines, "", more, ""])


def pages(language: str) -> dict[Path, str]:
    """Every page of a language by its path under the repository."""
    found = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))
    info = json.loads((ROOT / "tests" / "nodes" / "golden" / "object_info.json").read_text(encoding="utf-8"))
    return {Path("web", "docs", name, f"{language}.md"): page(language, node, info[name]["output_name"])
            for name, node in found.items()}


def main() -> None:
    for language in WORDS:
        made = pages(language)
        for path, text in made.items():
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(text, encoding="utf-8")
        print(f"{language}: {len(made)} pages")


if __name__ == "__main__":
    main()
