"""The native attention hooks on a stand-in for ComfyUI's calls: which layers, which rows, whose kernel."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

from .pack import part

HEADS, WIDTH, ROWS, COLUMNS = 2, 16, 8, 6
TOKENS = ROWS * COLUMNS


def plain(q: Any, k: Any, v: Any, heads: int, *args: Any, **kwargs: Any) -> Any:
    """ComfyUI's attention function, both layouts."""
    split = not kwargs.get("skip_reshape", False)
    if split:
        q, k, v = (x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2) for x in (q, k, v))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    return out if kwargs.get("skip_output_reshape") else out.transpose(1, 2).flatten(2)


class Host:
    """One transformer block as ComfyUI runs it, on options that a run owns."""

    def __init__(self, **options: Any) -> None:
        self.options: dict[str, Any] = options

    def attention(
        self, kind: str, q: Any, k: Any, v: Any, order: Any, replaced: bool = False, **shape: Any
    ) -> Any:
        run = {"cond_or_uncond": order, "activations_shape": [2, 4, ROWS, COLUMNS],
               "original_shape": [2, 4, ROWS, COLUMNS], **self.options, **shape}  # fmt: skip
        for patch in run.get("patches", {}).get(f"{kind}_patch", []):
            patch(q, k, v, run)
        if replaced:
            return v
        override = run.get("optimized_attention_override")
        known = {"attn_precision": None, "transformer_options": run, "_inside_attn_wrapper": True}
        return (
            plain(q, k, v, HEADS, **known) if override is None else override(plain, q, k, v, HEADS, **known)
        )

    def self(self, x: Any, order: Any = (1, 0), **options: Any) -> Any:
        return self.attention("attn1", x, x, x, order, **options)

    def cross(self, x: Any, order: Any = (1, 0), context: int = TOKENS) -> Any:
        """As many words as tokens: their shapes do not tell self- from cross-attention."""
        words = torch.randn(len(x), context, WIDTH, generator=torch.Generator().manual_seed(9))
        return self.attention("attn2", x, words, words, order)


@pytest.fixture
def control() -> Any:
    regions, modulation = part("sow_core.method.regions"), part("sow_core.method.modulation")
    condition, related = torch.zeros(1, ROWS, COLUMNS), torch.zeros(1, ROWS, COLUMNS)
    condition[:, 2:5, 2:4], related[:, 1:7, 1:5] = 1, 1
    made = modulation.AttentionControl(
        regions.Regions(condition, related), modulation.Modulation(suppress=6, enhance=6), 1
    )
    made.begin(0)
    return made


@pytest.fixture
def hooked() -> Any:
    host = Host()
    return host, part("nodes.native.attention").AttentionHooks(host.options)


def tokens(count: int = 2) -> Any:
    return torch.randn(count, TOKENS, WIDTH, generator=torch.Generator().manual_seed(1))


ORDER = ("positive", "negative")


def test_only_self_attention_of_the_positive_row_is_modulated(control: Any, hooked: Any) -> None:
    host, hooks = hooked
    x = tokens()
    for order, changed in (([1, 0], 1), ([0, 1], 0)):
        with hooks.installed(), hooks.active(control, ORDER):
            ours, cross = host.self(x, order), host.cross(x, order)
        bare = Host()
        assert torch.equal(cross, bare.cross(x, order))
        assert not torch.allclose(ours[changed], bare.self(x, order)[changed], atol=1e-3)
        assert torch.allclose(ours[1 - changed], bare.self(x, order)[1 - changed], atol=1e-6)


def test_the_positive_row_alone_and_absent(control: Any, hooked: Any) -> None:
    """The host may split rows over several calls: each is told apart by cond_or_uncond."""
    host, hooks = hooked
    x = tokens(1)
    with hooks.installed(), hooks.active(control, ORDER):
        positive, negative = host.self(x, [0]), host.self(x, [1])
    assert torch.equal(negative, Host().self(x, [1]))
    assert not torch.allclose(positive, negative, atol=1e-3)


def test_nothing_is_modulated_without_a_control(control: Any, hooked: Any) -> None:
    host, hooks = hooked
    x = tokens()
    with hooks.installed():
        with hooks.active(None, ORDER):
            assert torch.equal(host.self(x), Host().self(x))
        with hooks.active(control, ORDER):
            assert not torch.equal(host.self(x), Host().self(x))
        assert torch.equal(host.self(x), Host().self(x))  # between two model calls


def test_a_replaced_self_attention_does_not_pass_its_turn_on(control: Any, hooked: Any) -> None:
    host, hooks = hooked
    x = tokens()
    with hooks.installed(), hooks.active(control, ORDER):
        host.self(x, replaced=True)
        assert torch.equal(host.cross(x), Host().cross(x))


def test_another_override_keeps_the_layers_that_are_not_modulated() -> None:
    """And stays in its place. That it is chained in modulated layers too, test_native.py shows in ComfyUI."""

    def other(func: Any, q: Any, k: Any, v: Any, heads: int, *args: Any, **kwargs: Any) -> Any:
        return func(q, k, v, heads, *args, **kwargs) * 2.0

    def kept(n: Any, context: Any, value: Any, options: Any) -> Any:
        return n, context, value

    host = Host(optimized_attention_override=other, patches={"attn1_patch": [kept]})
    hooks = part("nodes.native.attention").AttentionHooks(host.options)
    x = tokens()
    with hooks.installed(), hooks.active(None, ORDER):
        assert torch.equal(host.self(x), Host().self(x) * 2.0)
        assert torch.equal(host.cross(x), Host().cross(x) * 2.0)
    assert host.options["optimized_attention_override"] is other
    assert host.options["patches"]["attn1_patch"] == [kept]


def test_the_options_are_as_before_even_after_an_error(control: Any, hooked: Any) -> None:
    host, hooks = hooked
    with pytest.raises(RuntimeError), hooks.installed(), hooks.active(control, ORDER):
        raise RuntimeError("cancelled")
    assert "optimized_attention_override" not in host.options
    assert not any(host.options.get("patches", {}).values())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"original_shape": [2, 4, 4, 6]}, "limited to an area"),
        ({"activations_shape": [2, 4, 4, 6]}, "merges attention tokens"),
        ({"cond_or_uncond": [0]}, "changes the batch"),
    ],
)
def test_layers_that_do_not_fit_run_plain_and_say_so_once(
    control: Any, hooked: Any, options: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    host, hooks = hooked
    x = tokens()
    with caplog.at_level(logging.WARNING, "sow"), hooks.installed(), hooks.active(control, ORDER):
        for _ in range(2):
            assert torch.equal(host.self(x, **options), Host().self(x))
    assert [words in record.getMessage() for record in caplog.records] == [True]
