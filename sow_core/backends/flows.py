"""What differs between flow transformers as diffusers runs them: one row of small functions a family.

States are [B, C, h, w] with the channels and cells of the family's latents, whatever the net wants them packed into;
texts are [B, L, d] without padding that the net would have to be told of, so that no mask is needed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .base import TextEmbedding, clip_tokens
from .components import FlowComponents

Prompt = Callable[[FlowComponents, str, bool], TextEmbedding]
"""Encode a text; True: one of the negative side, where a family treats that otherwise."""
Call = Callable[[Any, Tensor, Tensor, TextEmbedding, float], Tensor]
"""The net's own answer [B, C, h, w] for states, the time it is told [B], B prompts, and the embedded guidance."""


@dataclass(frozen=True)
class Flow:
    """One kind of folder. tokens: of a prompt, the rest is cut off; two_ways: negatives are encoded otherwise."""

    prompt: Prompt
    call: Call
    tokens: int
    two_ways: bool = False


# -- prompts, each by the pipeline's own encode_prompt


def _clip_prompt(parts: FlowComponents, text: str, negative: bool) -> TextEmbedding:
    """One CLIP's last states and the pooled state of its end mark: the demo flow model."""
    tokenizer, encoder = parts.encoders[0]
    out = encoder(clip_tokens(tokenizer, encoder, text).to(encoder.device))
    return TextEmbedding(out.last_hidden_state, out.pooler_output)


def _sd3_prompt(parts: FlowComponents, text: str, negative: bool) -> TextEmbedding:
    states, _, pooled, _ = parts.pipeline.encode_prompt(
        text, None, None, device=parts.device, do_classifier_free_guidance=False
    )
    return TextEmbedding(states, pooled)


def _flux_prompt(parts: FlowComponents, text: str, negative: bool) -> TextEmbedding:
    states, pooled, _ = parts.pipeline.encode_prompt(text, device=parts.device)
    return TextEmbedding(states, pooled)


def _chroma_prompt(parts: FlowComponents, text: str, negative: bool) -> TextEmbedding:
    """Up to the first padding token, which Chroma reads: the rest is not to be seen, and has no place in its rope."""
    states, _, mask, *_ = parts.pipeline.encode_prompt(text, device=parts.device, do_classifier_free_guidance=False)
    return TextEmbedding(states[:, : int(mask.sum())])


def _lumina2_prompt(parts: FlowComponents, text: str, negative: bool) -> TextEmbedding:
    """A negative prompt is read without the system's words before it."""
    pipe = parts.pipeline
    if negative:
        states, mask = pipe._get_gemma_prompt_embeds(text, device=parts.device)
    else:
        states, mask, *_ = pipe.encode_prompt(text, device=parts.device, do_classifier_free_guidance=False)
    return TextEmbedding(states[:, : int(mask.sum())])


def _z_image_prompt(parts: FlowComponents, text: str, negative: bool) -> TextEmbedding:
    # The pipeline writes over a list that it is given, not over a string.
    states, _ = parts.pipeline.encode_prompt(text, device=parts.device, do_classifier_free_guidance=False)
    return TextEmbedding(states[0][None])


def _qwen_prompt(parts: FlowComponents, text: str, negative: bool) -> TextEmbedding:
    states, mask = parts.pipeline.encode_prompt(text, device=parts.device)
    return TextEmbedding(states if mask is None else states[:, : int(mask.sum())])


def _klein_prompt(parts: FlowComponents, text: str, negative: bool) -> TextEmbedding:
    """Padded to 512 tokens, all of which the net reads."""
    states, _ = parts.pipeline.encode_prompt(text, device=parts.device)
    return TextEmbedding(states)


# -- calls


def _call_sd3(net: Any, x: Tensor, told: Tensor, texts: TextEmbedding, guidance: float) -> Tensor:
    return net(
        x, encoder_hidden_states=texts.states, pooled_projections=texts.pooled, timestep=told, return_dict=False
    )[0]


def _call_flux(net: Any, x: Tensor, told: Tensor, texts: TextEmbedding, guidance: float) -> Tensor:
    number = torch.full_like(told, guidance) if net.config.guidance_embeds else None
    return _packed_call(net, x, told, texts, pooled_projections=texts.pooled, guidance=number)


def _call_chroma(net: Any, x: Tensor, told: Tensor, texts: TextEmbedding, guidance: float) -> Tensor:
    return _packed_call(net, x, told, texts)


def _packed_call(net: Any, x: Tensor, told: Tensor, texts: TextEmbedding, **more: Any) -> Tensor:
    """Flux's way: 2x2 cells in a token, ids of rows and columns for the rope, text at 0."""
    rows, columns = x.shape[-2] // 2, x.shape[-1] // 2
    places = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float32) for n in (1, rows, columns))).to(x.device)
    nowhere = places.new_zeros(texts.states.shape[1], 3)
    out = net(
        hidden_states=pack(x),
        encoder_hidden_states=texts.states,
        timestep=told,
        img_ids=places,
        txt_ids=nowhere,
        return_dict=False,
        **more,
    )[0]
    return unpack(out, rows, columns)


def _call_lumina2(net: Any, x: Tensor, told: Tensor, texts: TextEmbedding, guidance: float) -> Tensor:
    mask = torch.ones(texts.states.shape[:2], dtype=torch.bool, device=x.device)
    return net(
        x, encoder_hidden_states=texts.states, encoder_attention_mask=mask, timestep=told, return_dict=False
    )[0]


def _call_z_image(net: Any, x: Tensor, told: Tensor, texts: TextEmbedding, guidance: float) -> Tensor:
    pictures = list(x[:, :, None].unbind(0))  # one frame
    return torch.stack(net(pictures, told, list(texts.states.unbind(0)), return_dict=False)[0])[:, :, 0]


def _call_qwen(net: Any, x: Tensor, told: Tensor, texts: TextEmbedding, guidance: float) -> Tensor:
    rows, columns = x.shape[-2] // 2, x.shape[-1] // 2
    out = net(
        hidden_states=pack(x),
        encoder_hidden_states=texts.states,
        encoder_hidden_states_mask=None,
        timestep=told,
        img_shapes=[[(1, rows, columns)]] * len(x),
        return_dict=False,
        **_text_lengths(net, texts.states.shape[1], len(x)),
    )[0]
    return unpack(out, rows, columns)


def _text_lengths(net: Any, words: int, count: int) -> dict[str, Any]:
    """Up to diffusers 0.36 Qwen-Image must be told how long the texts are; later ones count, and warn or fail at it."""
    asked = inspect.signature(net.pos_embed.forward).parameters.get("txt_seq_lens")
    return {"txt_seq_lens": [words] * count} if asked is not None and asked.default is asked.empty else {}


def _call_flux2(net: Any, x: Tensor, told: Tensor, texts: TextEmbedding, guidance: float) -> Tensor:
    """A cell a token; ids of four axes, the last of which counts the words."""
    rows, columns = x.shape[-2:]

    def places(rows: int, columns: int, words: int) -> Tensor:
        four = torch.cartesian_prod(*(torch.arange(n) for n in (1, rows, columns, words)))
        return four[None].expand(len(x), -1, -1).to(x.device)

    out = net(
        hidden_states=x.flatten(2).transpose(1, 2),
        encoder_hidden_states=texts.states,
        timestep=told,
        img_ids=places(rows, columns, 1),
        txt_ids=places(1, 1, texts.states.shape[1]),
        guidance=torch.full_like(told, guidance) if net.config.guidance_embeds else None,
        return_dict=False,
    )[0]
    return out.transpose(1, 2).reshape(x.shape)


def pack(x: Tensor) -> Tensor:
    """[B, C, h, w] -> [B, h/2 w/2, 4 C]: the 2x2 cells of a token behind each other, channel by channel."""
    batch, channels, height, width = x.shape
    tokens = x.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return tokens.reshape(batch, height // 2 * (width // 2), channels * 4)


def unpack(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """The inverse of `pack` for a token grid of rows x columns."""
    batch, _, width = tokens.shape
    x = tokens.view(batch, rows, columns, width // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return x.reshape(batch, width // 4, rows * 2, columns * 2)


FLOWS = {
    "demo_flow": Flow(_clip_prompt, _call_sd3, 75),
    "sd3": Flow(_sd3_prompt, _call_sd3, 256),
    "flux": Flow(_flux_prompt, _call_flux, 512),
    "chroma": Flow(_chroma_prompt, _call_chroma, 512),
    "lumina2": Flow(_lumina2_prompt, _call_lumina2, 256, two_ways=True),
    "z_image": Flow(_z_image_prompt, _call_z_image, 512),
    "qwen": Flow(_qwen_prompt, _call_qwen, 1024),
    "klein": Flow(_klein_prompt, _call_flux2, 512),
}
"""By kind of folder, see `checks.check_index`."""
