"""The hooks in joint attention on a stand-in for a transformer of ComfyUI's: which calls, which rows, which tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from .pack import part
from .test_attention_hooks import HEADS, ORDER, WIDTH, plain

ROWS, COLUMNS, WORDS = 8, 6, 7
"""Of the token grid; tokens of the prompt."""
families = part("sow_core.method.families")


class Host:
    """One joint block as ComfyUI runs it, on options that a run owns. first: what stands first."""

    def __init__(self, **options: Any) -> None:
        self.options: dict[str, Any] = options

    def call(self, layers: list[Any], order: Any = (0, 1), words: int = WORDS, size: Any = None, **known: Any) -> Any:
        """One call of the net: what its layers make of q = k = v = x, each of its own length."""
        options = {**self.options, "cond_or_uncond": list(order)}
        rows, columns = size or (2 * ROWS, 2 * COLUMNS)
        latent, prompt = torch.zeros(len(order), 16, rows, columns), torch.zeros(len(order), words, 40)

        def net(x: Any, t: Any, c_concat: Any, c_crossattn: Any, control: Any, transformer_options: Any) -> Any:
            return [self.attention(layer, transformer_options, known) for layer in layers]

        for group in self.options.get("wrappers", {}).get("apply_model", {}).values():
            for wrapper in group:
                return wrapper(net, latent, None, None, prompt, None, options)
        return net(latent, None, None, prompt, None, options)

    def attention(self, x: Any, options: Any, known: Any) -> Any:
        override = options.get("optimized_attention_override")
        told = {"transformer_options": options, "_inside_attn_wrapper": True, **known}
        return plain(x, x, x, HEADS, **told) if override is None else override(plain, x, x, x, HEADS, **told)


def control_of(**strengths: Any) -> Any:
    regions, modulation = part("sow_core.method.regions"), part("sow_core.method.modulation")
    condition, related = torch.zeros(1, 2 * ROWS, 2 * COLUMNS), torch.zeros(1, 2 * ROWS, 2 * COLUMNS)
    condition[:, 4:10, 4:8], related[:, 2:14, 2:10] = 1, 1
    made = modulation.AttentionControl(
        regions.Regions(condition, related), modulation.Modulation(**({"suppress": 6, "enhance": 6} | strengths)), 1
    )
    made.begin(0)
    return made


def hooked(family: Any = families.FLUX, **options: Any) -> Any:
    host = Host(**options)
    return host, part("nodes.native.joint").JointHooks(host.options, family, (2 * ROWS, 2 * COLUMNS))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(part("nodes.native.attention"), "remark", lines.append)
    return lines


def tokens(count: int = ROWS * COLUMNS + WORDS, batch: int = 2) -> Any:
    return torch.randn(batch, count, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("family", [families.FLUX, families.HIDREAM], ids=["text first", "image first"])
def test_the_images_rows_are_modulated_and_the_texts_stay(family: Any) -> None:
    host, hooks = hooked(family)
    x = tokens()
    bare = Host().call([x])[0]
    with hooks.installed(), hooks.active(control_of(), ORDER):
        ours = host.call([x])[0]
    text, image = slice(0, WORDS), slice(WORDS, None)
    if family.first == "image":
        image, text = slice(0, ROWS * COLUMNS), slice(ROWS * COLUMNS, None)
    assert torch.allclose(ours[:, text], bare[:, text], atol=1e-5)
    assert not torch.allclose(ours[0, image], bare[0, image], atol=1e-3)
    assert torch.equal(ours[1], bare[1])  # the negative row


def test_the_texts_own_calls_are_left_alone_and_the_images_own_are_not(said: list[str]) -> None:
    host, hooks = hooked()
    layers = [tokens(WORDS), tokens(ROWS * COLUMNS), tokens()]
    bare = Host().call(layers)
    with hooks.installed(), hooks.active(control_of(), ORDER):
        ours = host.call(layers)
    assert torch.equal(ours[0], bare[0])
    assert all(not torch.allclose(a[0], b[0], atol=1e-3) for a, b in zip(ours[1:], bare[1:], strict=True))
    assert said == []


def test_nothing_is_added_at_strength_nought() -> None:
    host, hooks = hooked()
    x = tokens()
    with hooks.installed(), hooks.active(control_of(suppress=0, enhance=0), ORDER):
        assert torch.equal(host.call([x])[0], Host().call([x])[0])


def test_the_positive_row_alone_and_absent() -> None:
    host, hooks = hooked()
    x = tokens(batch=1)
    with hooks.installed(), hooks.active(control_of(), ORDER):
        positive, negative = host.call([x], [0])[0], host.call([x], [1])[0]
    assert torch.equal(negative, Host().call([x], [1])[0])
    assert not torch.allclose(positive, negative, atol=1e-3)


@pytest.mark.parametrize(
    ("how", "words"),
    [({"size": (8, 8)}, "limited to an area"), ({"layers": 2 * ROWS * COLUMNS + WORDS}, "reference pictures"),
     ({"layers": WORDS}, "none of the model's"), ({"mask": torch.zeros(1, 1, ROWS * COLUMNS + WORDS) - 1}, "masks")],
    ids=["area", "reference", "unseen", "mask"],
)  # fmt: skip
def test_what_cannot_be_modulated_is_said_once(how: dict[str, Any], words: str, said: list[str]) -> None:
    host, hooks = hooked()
    x = tokens(how.pop("layers", ROWS * COLUMNS + WORDS))
    with hooks.installed(), hooks.active(control_of(), ORDER):
        for _ in range(2):
            assert torch.equal(host.call([x, x], **how)[0], Host().call([x, x])[0])
    assert len(said) == 1 and words in said[0]


def test_everything_is_taken_out_again() -> None:
    def other(func: Any, q: Any, k: Any, v: Any, heads: int, *args: Any, **kwargs: Any) -> Any:
        return func(q, k, v, heads, *args, **kwargs) * 2.0

    host, hooks = hooked(optimized_attention_override=other, wrappers={"apply_model": {"theirs": []}})
    x = tokens(WORDS)
    with pytest.raises(RuntimeError, match="cancelled"), hooks.installed(), hooks.active(control_of(), ORDER):
        assert torch.equal(host.call([x])[0], Host().call([x])[0] * 2.0)  # a text refiner, through the other's
        raise RuntimeError("cancelled")
    assert host.options == {"optimized_attention_override": other, "wrappers": {"apply_model": {"theirs": []}}}
