"""A host that runs node 12, for what nodes show on themselves."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest


@pytest.fixture
def host_page(monkeypatch) -> list[tuple[str, str, str]]:
    """What is sent to the page: (text, node, client)."""
    sent: list[tuple[str, str, str]] = []
    instance = SimpleNamespace(send_progress_text=lambda *message: sent.append(message), client_id="the asker")
    context = SimpleNamespace(prompt_id="p", node_id="12", list_index=None)
    monkeypatch.setitem(sys.modules, "server", SimpleNamespace(PromptServer=SimpleNamespace(instance=instance)))
    monkeypatch.setitem(sys.modules, "comfy_execution", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "comfy_execution.utils",
                        SimpleNamespace(get_executing_context=lambda: context, context=context))
    return sent
