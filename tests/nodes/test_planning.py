"""The planner nodes on the strict stub: same rules as the command, the host's folder, its cancel button."""

from __future__ import annotations

import json
import threading
import time

import pytest
import torch
from unit.planning.loopback import GOOD, SCENE, Loopback
from unit.planning.outcomes import KEY

from .pack import node, part, run_node, sow_error

FACE = torch.zeros(1, 120, 120, 3)
MASK = torch.zeros(1, 120, 120)
MASK[:, 20:, 30:90] = 1


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("STUB_USER_FOLDER", str(tmp_path))
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def gemini(monkeypatch):
    """A Gemini on this machine and a key for it, as a server's owner would set them."""
    pytest.importorskip("google.genai")
    with Loopback() as server:
        monkeypatch.setenv("GEMINI_API_KEY", KEY)
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.base)
        yield server


def offline(**changes):
    return run_node("SOW_OfflinePlanner", **{"prompt": "a man in a suit", "condition": FACE, "mask": MASK} | changes)


def test_offline_plan_goes_into_a_layout():
    prompt, plan, boxes, text, report, preview = offline().args
    assert prompt == "a man in a suit" and json.loads(text)["sow_plan"] == 1
    assert boxes[0] == plan.boxes[0].as_dict() and len(boxes) == 1 + len(plan.conditions[0].related)
    assert preview.shape == (1, 768, 768, 3) and "neck and body" in report
    sow_layout, _, _, _, placed, _ = run_node("SOW_Layout", condition=FACE, mask=MASK, plan=plan).args
    assert sow_layout.build().conditions[0].box == plan.boxes[0]
    assert placed == boxes
    by_text = run_node("SOW_Layout", condition=FACE, mask=MASK, bboxes=json.dumps(boxes)).args
    assert by_text[4] == placed


def test_drawing_and_report_are_shown_on_the_node(host_page):
    made = offline()
    assert host_page == [("\n".join(f"\u2022 {line}" for line in made.args[4].splitlines()), "12", "the asker")]
    assert made.ui["text"] == (made.args[4],) and made.ui["images"]


def test_several_pictures_are_planned_in_the_order_of_the_layouts():
    made = offline(prompt="a dog on the right and a man on the left", names="man, dog", width=768,
                   condition_3=torch.zeros(1, 60, 90, 3))
    plan = made.args[1]
    assert plan.boxes[0].center[0] < 384 < plan.boxes[1].center[0]
    first = run_node("SOW_Layout", condition=FACE, mask=MASK, plan=plan, width=768).args[0]
    second = run_node("SOW_Layout", condition=torch.zeros(1, 60, 90, 3), plan=plan, width=768, layout=first).args[0]
    assert [c.box for c in second.build().conditions] == list(plan.boxes)


def test_masks_mean_the_same_as_in_the_layout():
    kept = offline(crop_to_mask=True, kind="object").args[1].boxes[0]
    assert kept.width < kept.height, "the picture is now the mask's bounds, 60 x 100"
    turned = offline(mask=1 - MASK, invert_mask=True).args[1]
    assert turned == offline().args[1]
    empty = offline(mask=torch.zeros(1, 64, 64)).args[4]
    assert "no mask" in empty or "flat background" in empty


def test_the_clips_own_tokenizer_counts():
    class Clip:
        def tokenize(self, text, return_word_ids=False):
            assert return_word_ids
            words = [(7, 1.0, i + 1) for i, _ in enumerate(text.split())]
            return {"l": [[(49406, 1.0, 0), *words, (49407, 1.0, 0)]]}

    report = offline(prompt="word " * 80, clip=Clip()).args[4]
    assert "80 tokens" in report


def test_bad_input_is_one_clear_line():
    with pytest.raises(sow_error(), match="mask_2 has no picture"):
        offline(mask_2=MASK)
    with pytest.raises(sow_error(), match="Expected 1 picture"):
        offline(condition=FACE.repeat(2, 1, 1, 1))
    with pytest.raises(sow_error(), match="Bad mask"):
        offline(mask=torch.ones(1, 30, 30))
    with pytest.raises(sow_error(), match="size limits"):
        offline(min_size=300, max_size=200)
    with pytest.raises(sow_error(), match="Bad width 500"):
        offline(width=500)


def test_gemini_without_a_key_is_offline_and_says_so():
    made = run_node("SOW_GeminiPlanner", prompt=SCENE, condition=FACE, mask=MASK)
    assert made.args[1].source["planner"] == "offline" and "no Gemini key is set up" in made.args[4]
    with pytest.raises(sow_error(), match="No API key"):
        run_node("SOW_GeminiPlanner", prompt=SCENE, condition=FACE, service="google-genai", on_failure="stop")


def test_gemini_with_a_key(gemini, tmp_path):
    made = run_node("SOW_GeminiPlanner", prompt=SCENE, condition=FACE, mask=MASK)
    prompt, plan, _, text, report, _ = made.args
    assert prompt.startswith(SCENE) and len(prompt) > len(SCENE) and plan.source["package"] == "google-genai"
    again = run_node("SOW_GeminiPlanner", prompt=SCENE, condition=FACE, mask=MASK)
    assert len(gemini.calls()) == 1 and "plan cache" in again.args[4]
    run_node("SOW_GeminiPlanner", prompt=SCENE, condition=FACE, mask=MASK, refresh=1)
    assert len(gemini.calls()) == 2
    files = [f for f in tmp_path.rglob("*") if f.is_file()]
    assert files and all("__sow" in str(f) for f in files), "only the folder that no address leads to"
    assert KEY not in text + report + "".join(f.read_text() for f in files)


def test_a_key_that_was_added_makes_the_node_run_again(monkeypatch):
    cls = node("SOW_GeminiPlanner")
    before = cls.fingerprint_inputs(prompt="x"), cls.fingerprint_inputs(prompt="x")
    assert before == ("offline", "offline")
    pytest.importorskip("google.genai")
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    assert cls.fingerprint_inputs(prompt="x") == "gemini"


def test_a_broken_config_file_is_one_clear_line(tmp_path):
    (tmp_path / "__sow").mkdir()
    (tmp_path / "__sow" / "config.json").write_text('{"gemini": {"api_key": "' + KEY)
    with pytest.raises(sow_error(), match="not valid JSON") as caught:
        run_node("SOW_GeminiPlanner", prompt=SCENE, condition=FACE)
    assert KEY not in str(caught.value) and KEY not in node("SOW_GeminiPlanner").fingerprint_inputs()
    offline()  # needs no settings


def test_cancel_while_waiting_is_the_hosts_own_interruption(gemini):
    part("nodes.planning")
    from comfy import model_management

    threading.Timer(0.5, lambda: setattr(model_management, "interrupted", True)).start()
    started = time.monotonic()
    try:
        with pytest.raises(model_management.InterruptProcessingException):
            run_node("SOW_GeminiPlanner", prompt=SCENE, condition=FACE, model="very-slow")
    finally:
        model_management.interrupted = False
    assert time.monotonic() - started < 5


def test_an_answer_from_any_other_node():
    question, shown = run_node("SOW_PlannerPrompt", prompt=SCENE, condition=FACE, mask=MASK,
                               condition_2=torch.ones(1, 30, 700, 3)).args
    assert SCENE in question and "2 VISUAL CONDITIONS" in question and '"conditions"' in question
    assert shown.shape == (2, 120, 512, 3)
    plan = run_node("SOW_PlanFromJSON", answer=f"Sure:\n```json\n{GOOD}\n```", condition=FACE).args[1]
    assert plan.source["planner"] == "json" and plan.boxes[0].width == plan.boxes[0].height
    again = run_node("SOW_PlanFromJSON", answer=plan.to_json(), width=1024, height=1024).args[1]
    assert again.boxes[0].width == 2 * plan.boxes[0].width
    bare = '{"box": [128, 0, 256, 256]}'
    assert run_node("SOW_PlanFromJSON", answer=bare, prompt="a cat").args[0] == "a cat"
    for answer, words in (("", "No plan"), ("nothing here", "no JSON object"), (bare, "no prompt")):
        with pytest.raises(sow_error(), match=words):
            run_node("SOW_PlanFromJSON", answer=answer)


def test_nothing_of_a_workflow_can_name_an_address():
    for name in ("SOW_GeminiPlanner", "SOW_OfflinePlanner", "SOW_PlannerPrompt", "SOW_PlanFromJSON"):
        inputs = [i.id for i in node(name).define_schema().inputs]
        assert not [i for i in inputs if any(word in i for word in ("url", "key", "path", "folder"))]
    with pytest.raises(sow_error(), match="No planner profile"):
        run_node("SOW_GeminiPlanner", prompt=SCENE, condition=FACE, service="openai-compatible",
                 profile="https://evil.example/v1")
