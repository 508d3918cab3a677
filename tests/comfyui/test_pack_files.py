"""What the host serves of the pack besides its nodes: templates with thumbnails, help pages, translations."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest
from comfyui.host import Server

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))


def fetch(server: Server, path: str) -> bytes:
    with urllib.request.urlopen(f"{server.url}{path}", timeout=30) as response:
        return response.read()


def pack_name(server: Server) -> str:
    """The folder's name in custom_nodes, under which everything is served."""
    info = json.loads(fetch(server, "/object_info/SOW_Layout"))
    return info["SOW_Layout"]["python_module"].removeprefix("custom_nodes.")


@pytest.mark.parametrize("name", WORKFLOWS)
def test_templates_are_listed_and_served(server: Server, name: str) -> None:
    pack = pack_name(server)
    assert name in json.loads(fetch(server, "/workflow_templates"))[pack]
    served = fetch(server, f"/api/workflow_templates/{pack}/{name}.json")
    assert served == (ROOT / "workflows" / f"{name}.json").read_bytes()
    assert fetch(server, f"/api/workflow_templates/{pack}/{name}.jpg")[:3] == b"\xff\xd8\xff"


def test_help_pages_are_served(server: Server) -> None:
    pack = pack_name(server)
    for page in (ROOT / "web" / "docs").glob("*.md"):
        assert fetch(server, f"/extensions/{pack}/docs/{page.name}") == page.read_bytes()


def test_translations_are_served(server: Server) -> None:
    words = json.loads(fetch(server, "/i18n"))
    for language in ("en", "zh"):
        assert words[language]["nodeDefs"]["SOW_KSampler"]["inputs"]["cycles"]["tooltip"]
