"""What a node has to say appears on the node, once, and does not outlive its cause."""

from __future__ import annotations

import logging
import sys

import pytest

from .pack import part

R = part("nodes.remarks")


@pytest.fixture(autouse=True)
def _forgotten():
    R._spoken.clear()
    R._heard.clear()


def test_remarks_gather_on_the_running_node_and_in_the_log(host_page, caplog):
    with caplog.at_level(logging.WARNING, logger="sow"):
        for line in ("first", "second", "first"):
            R.remark(line)
    assert [text for text, *_ in host_page] == ["\u2022 first", "\u2022 first\n\u2022 second"]
    assert [record.getMessage() for record in caplog.records] == ["SOW: first", "SOW: second"]


def test_a_later_run_takes_the_remark_back(host_page):
    R.done()
    assert host_page == [], "a node that never spoke stays silent"
    R.show(["a report"])
    R._heard.clear()
    R.done()
    assert host_page.pop() == ("\u2022 a report", "12", "the asker") and not host_page, "a report is no warning"
    R.remark("first")
    R.done()
    context = sys.modules["comfy_execution.utils"].context
    context.prompt_id = "next"
    R.done()
    R.done()
    assert [text for text, *_ in host_page] == ["\u2022 first", "\u2022 " + R.QUIET]


def test_each_node_says_its_own(host_page):
    context = sys.modules["comfy_execution.utils"].context
    R.remark("first")
    context.node_id = "13"
    R.remark("second")
    R.show(["third", ""])
    assert host_page[1:] == [("\u2022 second", "13", "the asker"), ("\u2022 third", "13", "the asker")]


def test_without_a_host_there_is_the_log(caplog):
    with caplog.at_level(logging.WARNING, logger="sow"):
        R.remark("alone")
        R.show(["nobody sees this"])
        R.done()
    assert [record.getMessage() for record in caplog.records] == ["SOW: alone"]
