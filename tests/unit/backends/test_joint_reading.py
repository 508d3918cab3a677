"""Words in a transformer's joint attention: the right tokens, the right rows and columns, and nothing changed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from unit.backends.scene import noise

from sow_core.method.joint import Span, words_attention

PROMPT = "an old cat on a red chair"
CHAIR = (PROMPT.index("chair"), len(PROMPT))
FAMILIES = ("sd3demo", "sd3", "flux", "chroma", "lumina2", "z_image", "qwen", "klein")
READS = {"sd3": ((0, 0), (2, 77)), "flux": ((1, 0),), "qwen": ((0, -34),)}
"""By family: encoders whose text is read word by word, and the place of each one's first token; else the first, 0."""
TEXT = {"sd3demo": 24, "sd3": 24, "z_image": 32}
"""Where the text begins in the joint attention of a canvas of 24 tokens; else 0, before the image."""


class Calls(TorchFunctionMode):
    """q and k of every attention call."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            q, k = args[:2] if args else (kwargs["query"], kwargs["key"])
            self.seen.append((q, k))
        return func(*args, **kwargs)


def state(backend):
    height, width = (n * 8 // backend.parts.cell for n in (8, 12))
    return noise(2, backend.channels, height, width), backend.schedule(10)


@pytest.mark.parametrize("family", FAMILIES)
def test_places_are_those_of_the_words_tokens(family, flows):
    """Against what the encoders were given when the prompt was encoded: here every letter is a token."""
    backend = flows(family)
    given, hooks = {}, []
    for n, (_, encoder) in enumerate(backend.parts.encoders):
        def keep(module, args, kwargs, n=n):
            given[n] = (kwargs["input_ids"] if "input_ids" in kwargs else args[0])[0]
        hooks.append(encoder.register_forward_pre_hook(keep, with_kwargs=True))
    try:
        backend.set_prompts({"positive": PROMPT})
        length = backend.states("positive").shape[1]
    finally:
        for hook in hooks:
            hook.remove()
    places = backend.places(PROMPT, *CHAIR)
    found = []
    for n, start in READS.get(family, ((0, 0),)):
        ids = [given[n][place - start] for place in places if 0 <= place - start < len(given[n])]
        found.append(backend.parts.encoders[n][0].decode(ids).replace(" ", ""))
    assert found == ["chair"] * len(found) and len(places) == 5 * len(found)
    assert all(0 <= place < length for place in places)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_kept_is_the_attention_of_the_images_rows_to_the_words_columns(family, flows):
    backend = flows(family)
    backend.set_prompts({"positive": PROMPT})
    x, schedule = state(backend)
    words = [backend.places(PROMPT, *CHAIR), [0]]
    backend.states("positive")  # the encoder has attention of its own
    with Calls() as calls:
        before = backend.predict(x, schedule, 3, ("positive",))
    kept = backend.look(x, schedule, 3, words)
    longest = max(q.shape[2] for q, _ in calls.seen)
    joint = [(q, k) for q, k in calls.seen if q.shape[2] == longest]
    assert len(kept) == len(joint) >= 2
    text = TEXT.get(family, 0)
    image = slice(0, 24) if text else slice(longest - 24, longest)
    for seen, (q, k) in zip(kept, joint, strict=True):
        k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
        whole = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)[:, :, image].mean((0, 1))
        expected = torch.stack([whole[:, [text + p for p in word]].mean(1) for word in words], 1)
        assert torch.allclose(seen, expected, atol=1e-6)
        assert seen.std(0).min() > 0
    assert torch.equal(backend.predict(x, schedule, 3, ("positive",)), before)
    assert not _get_current_function_mode_stack()


def test_words_that_are_cut_off_have_no_place(flows):
    backend = flows("sd3")
    words = " ".join(["cat"] * 30)  # every letter is a token: the CLIPs read 75 of them, T5 255
    at = [backend.places(words, 4 * n, 4 * n + 3) for n in (0, 25)]
    assert len(at[0]) == 6 and len(at[1]) == 3 and min(at[1]) >= 77
    assert backend.places("cat " * 100, 396, 399) == []


def test_attention_of_fewer_key_heads_and_another_scale():
    q, k = noise(1, 4, 7, 8), noise(1, 2, 7, 8, seed=1)
    found = words_attention(q, k, Span(3, 4, 4), [[0, 2]], scale=0.5)
    whole = (q @ k.repeat_interleave(2, 1).transpose(-1, -2) * 0.5).softmax(-1)
    assert torch.allclose(found[:, 0], whole[0, :, 3:, [0, 2]].mean((0, 2)), atol=1e-6)
