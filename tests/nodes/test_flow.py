"""Flow models in the pack, as far as no ComfyUI is needed: families, scales, grids, what a prompt's width is called."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from .pack import part, run_node, sow_error

F, C, L = part("nodes.native.flow"), part("nodes.native.checks"), part("nodes.layout")
Schedule = part("sow_core.method.schedule").Schedule
families = part("sow_core.method.families")


def base(name, **config):
    return type(name, (), {"model_config": SimpleNamespace(unet_config=config)})()


@pytest.mark.parametrize(
    ("model", "family"),
    [
        (base("SD3"), families.SD3),
        (base("Flux", guidance_embed=True), families.FLUX),
        (base("Flux", guidance_embed=False), families.FLUX_SCHNELL),
        (base("Flux2", guidance_embed=True), families.FLUX2),
        (base("Flux2", guidance_embed=False), families.FLUX2_KLEIN),
        (base("Lumina2"), families.LUMINA2),
        (base("Lumina2", z_image_modulation=True), families.Z_IMAGE),
        (base("ZImagePixelSpace", z_image_modulation=True), None),
        (base("ChromaRadiance"), None),
    ],
    ids=lambda value: getattr(value, "name", None) or type(value).__name__,
)
def test_a_family_is_told_by_its_class_and_its_net(model, family):
    assert F.family_of(model) is family


@pytest.mark.parametrize("flow", [True, False])
def test_the_hosts_state_and_ours_have_the_same_noise(flow):
    schedule = Schedule.matched_flow(10) if flow else Schedule((1.0, 0.8, 0.6), (0.0, 0.6, 0.8), (0.0, 1.0, 2.0))
    scale, clean, eps = F.HostScale(schedule, 2, flow), torch.randn(1, 4, 3, 3), torch.randn(1, 4, 3, 3)
    state = (schedule.a[2] * clean + schedule.b[2] * eps) / scale.divisor
    torch.testing.assert_close(state, scale.signal * clean + scale.sigma * eps)
    torch.testing.assert_close(scale.eps(state, clean), eps)
    torch.testing.assert_close(scale.clean(state, eps), clean)


def test_the_unets_formula_is_bit_for_bit_what_it_was():
    schedule = Schedule((1.0, 0.83, 0.61), (0.0, 0.55, 0.79), (0.0, 1.0, 2.0))
    x, clean = torch.randn(2, 4, 5, 5), torch.randn(2, 4, 5, 5)
    scale = F.HostScale(schedule, 2, flow=False)
    assert torch.equal(scale.eps(x / scale.divisor, clean), (x / schedule.a[2] - clean) / schedule.sigma(2))


def test_shares_of_the_sampling_follow_the_models_shift():
    def sampling(shift):
        def sigma(percent):
            return shift * (1 - percent) / (1 + (shift - 1) * (1 - percent))

        return SimpleNamespace(percent_to_sigma=sigma)

    for shift in (1.0, 3.0, 6.0):
        for share in (0.0, 0.2, 0.5, 0.99):
            wanted = sampling(shift).percent_to_sigma(share)
            assert F.percent_of(sampling(shift), wanted) == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize(
    ("config", "width"),
    [({"context_dim": 768}, 768), ({"context_in_dim": 4096}, 4096), ({"cap_feat_dim": 2560}, 2560),
     ({"joint_attention_dim": 3584}, 3584), ({"caption_channels": [4096, 4096]}, 4096), ({}, None),
     ({"context_embedder_config": {"params": {"in_features": 4096}}}, 4096)],
)  # fmt: skip
def test_every_family_names_the_width_of_its_prompts(config, width):
    assert C.text_width(config) == width


def test_a_box_that_the_models_tokens_move_is_named():
    spec = run_node("SOW_Layout", condition=torch.rand(1, 64, 64, 3), width=256, height=192, bboxes="40,32,64,64")[0]
    coarse = spec.build(grid=(8, 16))
    assert L.moved(spec, coarse) == "This model's tokens are 16 px: moved 40,32,64,64 to 48,32,64,64."
    assert L.moved(spec, spec.build()) == ""
    narrow = run_node("SOW_Layout", condition=torch.rand(1, 64, 64, 3), width=264, height=192, bboxes="40,32,64,64")[0]
    with pytest.raises(sow_error(), match="Bad width 264: expected a multiple of 16"):
        narrow.build(grid=(8, 16))


def test_the_vae_must_have_the_models_axes_and_the_layouts_cells():
    def vae(factor, axes=2):
        return SimpleNamespace(first_stage_model=1, latent_dim=axes, spacial_compression_encode=lambda: factor)

    assert C.check_vae(vae(8)) == 8 and C.check_vae(vae(16)) == 16 and C.check_vae(vae(8, 3), families.QWEN_IMAGE) == 8
    for wrong, family, cell in ((vae(32), None, None), (vae(16), None, 8), (vae(8, 1), None, None),
                                (vae(8), families.QWEN_IMAGE, 8), (vae(8, 3), families.FLUX, 8)):  # fmt: skip
        with pytest.raises(sow_error(), match="VAE"):
            C.check_vae(wrong, family, cell)


def test_every_weight_of_stable_diffusion_3_has_its_place_in_the_host():
    """Scale and shift change places in the last block and the last layer alone, and in copies."""
    from diffusers import SD3Transformer2DModel

    net = SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=4, out_channels=4, num_layers=3, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=12, caption_projection_dim=16, pooled_projection_dim=10,
        pos_embed_max_size=8, qk_norm="rms_norm", dual_attention_layers=(0,),
    )  # fmt: skip
    state = {key: torch.randn_like(value) for key, value in net.state_dict().items()}
    before = {key: value.clone() for key, value in state.items()}
    made = part("nodes.folder.transformer").renamed(state, 3)
    assert all(torch.equal(state[key], before[key]) for key in before)
    assert all(key.split(".")[0] in ("joint_blocks", "x_embedder", "t_embedder", "y_embedder", "context_embedder",
                                     "final_layer", "pos_embed") for key in made)  # fmt: skip
    assert sum(value.numel() for value in made.values()) == sum(value.numel() for value in state.values())
    for number, turned in ((1, False), (2, True)):
        theirs = state[f"transformer_blocks.{number}.norm1_context.linear.weight"]
        ours = made[f"joint_blocks.{number}.context_block.adaLN_modulation.1.weight"]
        assert torch.equal(ours, torch.cat(theirs.chunk(2)[::-1]) if turned else theirs)
    assert made["joint_blocks.0.x_block.attn2.qkv.weight"].shape == (48, 16)
