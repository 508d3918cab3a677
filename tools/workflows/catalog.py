"""The workflows of the pack, each a function that fills a graph.

Places on the page: x grows by columns of about 340 px, y downwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .graph import Graph, Node

NEGATIVE = "a bad quality and low-resolution image, extra fingers, deformed hands"
DEMO_CFG = 5.0
"""What the demo model was tuned at."""


def drawn(x: int, y: int, width: int, height: int, text: str, colour: str) -> dict[str, Any]:
    """A box as the drawing canvas saves it."""
    return {"x": x, "y": y, "width": width, "height": height,
            "metadata": {"type": "obj", "text": "", "desc": text, "palette": [colour]}}


RED, BLUE = "#ff5c5c", "#529cff"
FACE_AT_128 = [drawn(32, 24, 64, 64, "place of the face", RED), drawn(24, 0, 80, 32, "related: hair", BLUE),
               drawn(16, 80, 96, 48, "related: neck and body", BLUE)]


def demo_model(graph: Graph) -> Node:
    return graph.add("SOW_LoadDemoModel", (0, 0), (260, 110))


def prompts(graph: Graph, clip: Any, positive: str, negative: str, x: int = 340, y: int = 0) -> tuple[Node, Node]:
    return (
        graph.add("CLIPTextEncode", (x, y), (340, 130), "Scene", text=positive, clip=clip),
        graph.add("CLIPTextEncode", (x, y + 180), (340, 110), "Not wanted", text=negative, clip=clip),
    )


def demo(graph: Graph) -> None:
    model = demo_model(graph)
    face = graph.add("SOW_LoadExample", (0, 170), (260, 110), example="tom")
    positive, negative = prompts(graph, model.out("CLIP"), BEACH, "")
    layout = graph.add("SOW_Layout", (340, 360), (420, 1000), condition=face.out("image"), mask=face.out("mask"),
                       width=128, height=128, boxes=FACE_AT_128)
    sampler = graph.add("SOW_KSampler", (840, 0), (320, 560), model=model.out("MODEL"), positive=positive.out(),
                        negative=negative.out(), vae=model.out("VAE"), layout=layout.out("layout"), seed=7,
                        seed_control="randomize", cfg=DEMO_CFG)
    graph.add("SaveImage", (1220, 0), (360, 400), images=sampler.out("image"), filename_prefix="sow_demo")
    sheet = graph.add("SOW_CycleSheet", (840, 830), (300, 140), trace=sampler.out("trace"))
    graph.add("PreviewImage", (1220, 460), (480, 420), "How it grew", images=sheet.out("sheet"))
    graph.note(
        "## SOW demo\nRuns as it is: model and picture come with the pack.\n\n1. Press **Run**: the face stays, a "
        "scene grows around it.\n2. Move the red box in **SOW Layout**, or change the text, and run again.\n3. For "
        "your own pictures: **Load Image** instead of *SOW Load Example*, **Load Checkpoint** instead of *SOW Load "
        "Demo Model*, width and height 512.\n\nThe demo model knows 128x128 cartoon portraits and cubes only.",
        (-480, 0))


CAT_AT_512 = [drawn(160, 96, 216, 216, "place of the cat's face", RED),
              drawn(96, 256, 344, 256, "related: the cat's body", BLUE)]
BEACH = "a photo of a smiling man wearing a suit on a beach"


def face_layout(graph: Graph, example: str = "tom", y: int = 360, **changes: Any) -> Node:
    """A face of the demo world on its 128-px canvas."""
    face = graph.add("SOW_LoadExample", (0, y - 190), (260, 110), example=example)
    values = {"boxes": FACE_AT_128} | changes
    return graph.add("SOW_Layout", (340, y), (420, 1000), condition=face.out("image"), mask=face.out("mask"),
                     width=128, height=128, **values)


def keep(graph: Graph, model: Node, positive: Node, negative: Node, layout: Node, at: tuple[int, int],
         **changes: Any) -> Node:
    """SOW KSampler on the demo model."""
    values = {"seed": 7, "seed_control": "randomize", "cfg": DEMO_CFG} | changes
    return graph.add("SOW_KSampler", at, (320, 560), model=model.out("MODEL"), positive=positive.out(),
                     negative=negative.out(), vae=model.out("VAE"), layout=layout.out("layout"), **values)


def checkpoint_lora(graph: Graph) -> None:
    loader = graph.add("CheckpointLoaderSimple", (0, 0), (320, 110), ckpt_name="v1-5-pruned-emaonly-fp16.safetensors")
    lora = graph.add("LoraLoader", (0, 260), (320, 180), model=loader.out("MODEL"), clip=loader.out("CLIP"),
                     lora_name="choose_your_lora.safetensors", strength_model=0.8, strength_clip=0.8)
    cat = graph.add("SOW_LoadExample", (0, 520), (320, 130), example="cat")
    positive, negative = prompts(graph, lora.out("CLIP"), "a photo of a cat sitting in a flower garden, sunny day",
                                 NEGATIVE, x=380)
    layout = graph.add("SOW_Layout", (380, 360), (460, 1040), condition=cat.out("image"), mask=cat.out("mask"),
                       width=512, height=512, boxes=CAT_AT_512)
    sampler = graph.add("SOW_KSampler", (900, 0), (320, 560), model=lora.out("MODEL"), positive=positive.out(),
                        negative=negative.out(), vae=loader.out("VAE"), layout=layout.out("layout"), seed=7,
                        seed_control="randomize")
    composite = graph.add("SOW_Composite", (900, 640), (320, 180), image=sampler.out("image"),
                          layout=layout.out("layout"))
    graph.add("SaveImage", (1280, 0), (480, 520), images=composite.out("image"), filename_prefix="sow_checkpoint")
    graph.note(
        "## SOW with a checkpoint and a LoRA\nChoose a Stable Diffusion 1.5 checkpoint and a LoRA of the same family. "
        "Without a LoRA select **Load LoRA** and press Ctrl+B to bypass it.\n\nFor your own picture replace *SOW Load "
        "Example* by **Load Image** and paint what to keep in its mask editor. For SDXL set width and height to 1024.",
        (-480, 0))


def planner_offline(graph: Graph) -> None:
    model = demo_model(graph)
    face = graph.add("SOW_LoadExample", (0, 170), (260, 110), example="tom")
    plan = graph.add("SOW_OfflinePlanner", (340, 0), (400, 780), prompt=BEACH, condition=face.out("image"),
                     mask=face.out("mask"), width=128, height=128, kind="face", min_size=256, clip=model.out("CLIP"))
    layout = graph.add("SOW_Layout", (340, 840), (420, 860), condition=face.out("image"), mask=face.out("mask"),
                       width=128, height=128, plan=plan.out("plan"))
    positive = graph.add("CLIPTextEncode", (820, 0), (340, 130), "Planned prompt", text=plan.out("prompt"),
                         clip=model.out("CLIP"))
    negative = graph.add("CLIPTextEncode", (820, 190), (340, 110), "Not wanted", text="", clip=model.out("CLIP"))
    sampler = keep(graph, model, positive, negative, layout, (820, 360))
    graph.add("SaveImage", (1220, 0), (360, 400), images=sampler.out("image"), filename_prefix="sow_planned")
    graph.add("PreviewAny", (1220, 460), (360, 240), "What was planned", source=plan.out("report"))
    graph.note("## A planned layout, without a key\n**SOW Offline Planner** decides by rules where the picture goes "
               "and where it continues. Write a place into the text (*in the middle*, *on the left*) and run again."
               "\n\nDraw a box in SOW Layout to overrule it. *min_size* is 256 because the demo model knows faces of "
               "64 of its 128 pixels; leave it at 180 for real checkpoints.", (-480, 0))


def planner_gemini(graph: Graph) -> None:
    loader = graph.add("CheckpointLoaderSimple", (0, 0), (320, 110), ckpt_name="v1-5-pruned-emaonly-fp16.safetensors")
    cat = graph.add("SOW_LoadExample", (0, 260), (320, 130), example="cat")
    clip = loader.out("CLIP")
    plan = graph.add("SOW_GeminiPlanner", (380, 0), (420, 920), prompt="a photo of a cat sitting in a flower garden",
                     condition=cat.out("image"), mask=cat.out("mask"), width=512, height=512, clip=clip)
    layout = graph.add("SOW_Layout", (380, 980), (460, 900), condition=cat.out("image"), mask=cat.out("mask"),
                       width=512, height=512, plan=plan.out("plan"))
    positive = graph.add("CLIPTextEncode", (880, 0), (340, 130), "Planned prompt", text=plan.out("prompt"), clip=clip)
    negative = graph.add("CLIPTextEncode", (880, 190), (340, 130), "Not wanted", text=NEGATIVE, clip=clip)
    sampler = graph.add("SOW_KSampler", (880, 380), (320, 560), model=loader.out("MODEL"), positive=positive.out(),
                        negative=negative.out(), vae=loader.out("VAE"), layout=layout.out("layout"), seed=7,
                        seed_control="randomize")
    graph.add("SaveImage", (1280, 0), (480, 520), images=sampler.out("image"), filename_prefix="sow_gemini")
    graph.add("PreviewAny", (1280, 580), (480, 260), "What was planned", source=plan.out("report"))
    graph.add("PreviewAny", (1280, 900), (480, 260), "The plan, to keep", source=plan.out("plan_json"))
    graph.note("## Planned by Gemini\nSet the environment variable **GEMINI_API_KEY** before starting ComfyUI, and "
               "`pip install google-genai`. Without them this workflow plans offline and says so.\n\nThe picture "
               "(only what the mask keeps) and the text are sent to Google. The key is never part of a workflow.\n\n"
               "Paste *The plan, to keep* into **SOW Plan From JSON**, and others repeat the picture without a key.",
               (-480, 0))


def composable(graph: Graph) -> None:
    model = demo_model(graph)
    positive, negative = prompts(graph, model.out("CLIP"), BEACH, "")
    layout = face_layout(graph, boxes=[], bboxes="[[32,24,64,64],[24,0,80,32],[16,80,96,48]]")
    options = graph.add("SOW_CycleOptions", (0, 360), (300, 660), preserve="4,3,2", adaptive=True)
    attention = graph.add("SOW_AttentionOptions", (0, 1080), (300, 480), suppress=1.5)
    encoded = graph.add("SOW_EncodeLayout", (840, 0), (300, 170), layout=layout.out("layout"), vae=model.out("VAE"),
                        cycle_options=options.out())
    sampler = graph.add("SOW_Sampler", (840, 230), (300, 290), encoded=encoded.out("encoded"),
                        cycle_options=options.out(), attention_options=attention.out())
    guider = graph.add("SOW_Guider", (840, 580), (300, 280), model=model.out("MODEL"), positive=positive.out(),
                       negative=negative.out(), cfg=DEMO_CFG)
    noise = graph.add("RandomNoise", (840, 920), (300, 110), noise_seed=7)
    sigmas = graph.add("BasicScheduler", (840, 1090), (300, 180), "Sigmas (not used by SOW)", model=model.out("MODEL"),
                       scheduler="ddim_uniform", steps=10)
    run = graph.add("SamplerCustomAdvanced", (1200, 0), (280, 170), noise=noise.out(), guider=guider.out(),
                    sampler=sampler.out(), sigmas=sigmas.out(), latent_image=encoded.out("latent"))
    decode = graph.add("VAEDecode", (1200, 240), (240, 90), samples=run.out(0), vae=model.out("VAE"))
    graph.add("SaveImage", (1520, 0), (360, 400), images=decode.out(), filename_prefix="sow_composable")
    graph.note(
        "## The parts of SOW KSampler\nFor those who build with **SamplerCustomAdvanced**. *SOW Cycle Options* and "
        "*SOW Attention Options* hold every knob of the method. The boxes come as text here, which also works through "
        "the API: the first is the place, the others are related regions.", (-480, 0))


def two_conditions(graph: Graph) -> None:
    model = demo_model(graph)
    positive, negative = prompts(graph, model.out("CLIP"), "a photo of a man and a woman in a flower garden", "")
    first = face_layout(graph, "tom", 360, boxes=[drawn(8, 32, 52, 52, "place of the first face", RED),
                                                  drawn(0, 80, 64, 48, "related: body", BLUE)])
    second = face_layout(graph, "rose", 1440, boxes=[drawn(68, 32, 52, 52, "place of the second face", RED),
                                                    drawn(64, 80, 64, 48, "related: body", BLUE)],
                         layout=first.out("layout"))
    options = graph.add("SOW_CycleOptions", (0, 420), (300, 660), preserve="4,3,2,1")
    sampler = keep(graph, model, positive, negative, second, (840, 0), seed=2, cycle_options=options.out())
    composite = graph.add("SOW_Composite", (840, 640), (320, 180), image=sampler.out("image"),
                          layout=second.out("layout"), feather=4)
    graph.add("SaveImage", (1220, 0), (360, 400), images=composite.out("image"), filename_prefix="sow_two")
    graph.add("PreviewImage", (1220, 460), (360, 400), "Both on one canvas", images=second.out("preview"))
    graph.note("## Two pictures in one scene\nOne **SOW Layout** per picture, chained through *layout*. Both need the "
               "same width and height; the later one lies on top. *preserve* holds both to the end, **SOW Composite** "
               "brings their own pixels back.\n\nThe demo model has seen single portraits only and grows one body; a "
               "real checkpoint makes more of two.", (-480, 0))


def style_and_attribute(graph: Graph) -> None:
    model = demo_model(graph)
    layout = face_layout(graph, "tom")
    clip = model.out("CLIP")
    normal, negative = prompts(graph, clip, "a photo of a smiling man wearing a suit in a forest", "")
    other = graph.add("CLIPTextEncode", (340, -170), (340, 130), "Attribute", clip=clip,
                      text="a photo of a sad man wearing a straw hat and a suit in a forest")
    style = graph.add("CLIPTextEncode", (340, -340), (340, 130), "Style", clip=clip,
                      text="a pencil sketch of a smiling man wearing a suit in a forest")
    for row, (prompt, preset) in enumerate(((normal, "normal"), (other, "attribute"), (style, "style"))):
        sampler = keep(graph, model, prompt, negative, layout, (840, 640 * row), preset=preset, seed_control="fixed")
        graph.add("SaveImage", (1220, 640 * row), (360, 400), preset, images=sampler.out("image"),
                  filename_prefix=f"sow_{preset}")
    graph.note("## One picture, three presets\n**normal** keeps the picture as it is. **attribute** lets a smile or a "
               "look change with the text. **style** lets it take the style of the scene.", (-480, 0))


def diagnostics(graph: Graph) -> None:
    model = demo_model(graph)
    positive, negative = prompts(graph, model.out("CLIP"), BEACH, "")
    layout = face_layout(graph)
    sampler = keep(graph, model, positive, negative, layout, (840, 0), seed_control="fixed")
    trace = sampler.out("trace")
    sheet = graph.add("SOW_CycleSheet", (840, 830), (300, 140), trace=trace)
    heat = graph.add("SOW_AttentionMap", (840, 1030), (300, 150), trace=trace)
    numbers = graph.add("SOW_Metrics", (840, 1240), (300, 130), trace=trace)
    graph.add("SaveImage", (1220, 0), (360, 400), images=sampler.out("image"), filename_prefix="sow_diagnostics")
    graph.add("PreviewImage", (1640, 0), (520, 480), "How it grew", images=sheet.out("sheet"))
    graph.add("PreviewImage", (1640, 540), (520, 480), "What looked at the face", images=heat.out("map"))
    graph.add("PreviewImage", (1220, 460), (360, 300), "Indicator", images=numbers.out("curve"))
    graph.add("PreviewAny", (1220, 820), (360, 200), "Numbers", source=numbers.out("report"))
    graph.note("## What happened\nThe *trace* of a SOW sampler feeds the diagnostics. They cost nothing unless they "
               "are connected.", (-480, 0))


def diffusers(graph: Graph) -> None:
    pipeline = graph.add("SOW_LoadPipeline", (0, 0), (300, 180))
    layout = face_layout(graph, "rose", 440)
    made = graph.add("SOW_Generate", (840, 0), (380, 660), pipeline=pipeline.out(), layout=layout.out("layout"),
                     prompt="a photo of a smiling woman wearing a yellow dress in a flower garden", negative_prompt="",
                     seed=7, seed_control="randomize", cfg=DEMO_CFG)
    graph.add("SaveImage", (1280, 0), (360, 400), images=made.out("image"), filename_prefix="sow_diffusers")
    graph.note("## With the diffusers library\nFor models that you have as diffusers folders under models/diffusers. "
               "The demo needs no download. The same seed gives the same picture as **SOW KSampler**.", (-480, 0))


def separate(graph: Graph) -> None:
    """Text alone, the same seed without and with SOW Separate."""
    things = "a green cylinder, a red cube, a blue sphere and a yellow cylinder on a gray floor"
    model = demo_model(graph)
    positive, negative = prompts(graph, model.out("CLIP"), things, "")
    empty = graph.add("EmptyLatentImage", (0, 170), (260, 110), width=128, height=128, batch_size=1)
    apart = graph.add("SOW_Separate", (340, 360), (340, 330), model=model.out("MODEL"), clip=model.out("CLIP"),
                      prompt=things, words="green cylinder, red cube, blue sphere, yellow cylinder", strength=0.1,
                      depth=1)
    for row, (title, source) in enumerate((("As it is", model.out("MODEL")), ("Kept apart", apart.out("model")))):
        sampler = graph.add("KSampler", (760, 420 * row), (320, 270), title, model=source, positive=positive.out(),
                            negative=negative.out(), latent_image=empty.out(), seed=5, seed_control="fixed", steps=10,
                            cfg=DEMO_CFG, sampler_name="ddim", scheduler="ddim_uniform")
        picture = graph.add("VAEDecode", (1120, 420 * row), (200, 60), samples=sampler.out(), vae=model.out("VAE"))
        graph.add("SaveImage", (1360, 420 * row), (340, 360), title, images=picture.out(),
                  filename_prefix=f"sow_separate_{row}")
    graph.note("## Things that stay apart\n**SOW Separate** stands between model and sampler; it works with SOW "
               "KSampler too. Write the prompt into it as into *Scene*, and name the things.\n\nOn the demo model no "
               "gain could be shown; try it on a checkpoint that merges things, at strengths of 0.1 to 0.3, *depth* 2.",
               (-480, 0))


WORKFLOWS: dict[str, Callable[[Graph], None]] = {
    "sow_1_demo": demo,
    "sow_2_checkpoint_lora": checkpoint_lora,
    "sow_3_planner_offline": planner_offline,
    "sow_4_planner_gemini": planner_gemini,
    "sow_5_composable_sampler": composable,
    "sow_6_two_conditions": two_conditions,
    "sow_7_style_and_attribute": style_and_attribute,
    "sow_8_diagnostics": diagnostics,
    "sow_9_diffusers": diffusers,
    "sow_12_separate": separate,
}
