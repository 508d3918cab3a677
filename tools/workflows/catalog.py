"""The workflows of the pack, each a function that fills a graph.

The words say what to do; the names are what the host's template browser shows, sorted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sow_core.method.box import Box

from .graph import Graph, Node
from .page import MODEL, PICTURE, RESULT, RUN, WORDS, Column

NEGATIVE = "a bad quality and low-resolution image, extra fingers, deformed hands"
DEMO_CFG = 5.0
"""What the demo model was tuned at."""
FLOW_CFG = 4.0
"""The same of the flow transformer."""
SHIFT_AT_1024 = 2.0
"""Of a flow model's levels; by the rule of larger canvases, not tried on released weights."""
UNTRIED = ("\n\n*This was tried with random weights of the right shape only: released ones could not be had. Steps, "
           "cycles and level_shift are the first things to try.*")
COLOURS = ("#ff5c5c", "#529cff")
"""Of the first and the second condition in the drawing field: those of the node's preview."""
FACE_AT_128 = ("0.25,0.1875,0.5,0.5 face", "0.1875,0,0.625,0.25 related: hair", "0.125,0.625,0.75,0.375 related: body")
CAT_AT_512 = ("0.3125,0.1875,0.421875,0.421875 the cat's face", "0.1875,0.5,0.671875,0.5 related: the cat's body")
BEACH = "a photo of a smiling man wearing a suit on a beach"
CANVASES = ("\n\nIn **SOW Layout**, *bboxes* holds the places as text: x,y,width,height as shares of the picture, the "
            "first line is the picture's place, the others are where it continues. With **Nodes 2.0** on (a switch in "
            "the menu under ComfyUI's logo) you can also drag the boxes.")
OWN_PICTURE = ("\n\n### Your own picture\nDouble-click the empty canvas, add **Load Image**, choose the file. Connect "
               "its "
               "*IMAGE* to *condition* and its *MASK* to *mask* of **SOW Layout**. Of a cut-out with a transparent "
               "background the subject is kept; of any other picture paint what to keep (right-click **Load Image** > "
               "Open in Mask Editor). After the run, **SOW Layout** shows in colour what was kept.")


def places(lines: tuple[str, ...], size: int, colour: str = COLOURS[0]) -> dict[str, Any]:
    """The inputs of SOW Layout that say where: the lines as text, and the same boxes as the drawing field saves them.

    size: side of the square canvas in px. What a drawn box remembers of its line tells the node which of the two was
    changed; the form is `nodes.boxes.with_source`'s.
    """
    drawn = []
    for number, line in enumerate(lines, start=1):
        shares, label = line.split(" ", 1)
        x, y, w, h = (float(n) * size for n in shares.split(","))
        box = Box(round(x), round(y), round(x + w) - round(x), round(y + h) - round(y))
        drawn.append(box.as_dict() | {"metadata": {
            "type": "obj", "text": f"{number}/{len(lines)} {box}|{line}", "desc": label,
            "palette": [colour]}})  # fmt: skip
    return {"width": size, "height": size, "boxes": drawn, "bboxes": "\n".join(lines)}


def model_and_picture(graph: Graph, *examples: str) -> tuple[Column, Node, list[Node]]:
    """The first column: the demo model and pictures."""
    column = Column(graph, 0)
    model = column.add("SOW_LoadDemoModel")
    column.group("Model", MODEL)
    pictures = [column.add("SOW_LoadExample", example=example) for example in examples]
    column.group("Picture to keep", PICTURE)
    return column, model, pictures


def layout_of(column: Column, picture: Node, lines: tuple[str, ...] = FACE_AT_128, size: int = 128,
              colour: str = COLOURS[0], **more: Any) -> Node:
    return column.add("SOW_Layout", condition=picture.out("image"), mask=picture.out("mask"),
                      **(places(lines, size, colour) if lines else {"width": size, "height": size}), **more)


def prompts(column: Column, clip: Any, positive: str, negative: str = "") -> tuple[Node, Node]:
    made = (column.add("CLIPTextEncode", "Scene", text=positive, clip=clip),
            column.add("CLIPTextEncode", "Not wanted", text=negative, clip=clip))
    column.group("Scene in words", WORDS)
    return made


def keep(column: Column, model: Any, positive: Node, negative: Node, vae: Any, layout: Node, **changes: Any) -> Node:
    """SOW KSampler."""
    values = {"seed": 7, "seed_control": "randomize"} | changes
    return column.add("SOW_KSampler", model=model, positive=positive.out(), negative=negative.out(), vae=vae,
                      layout=layout.out("layout"), **values)


def demo_keep(column: Column, model: Node, positive: Node, negative: Node, layout: Node, **changes: Any) -> Node:
    values = {"cfg": DEMO_CFG} | changes
    return keep(column, model.out("MODEL"), positive, negative, model.out("VAE"), layout, **values)


def note(graph: Graph, text: str, height: int = 420) -> None:
    graph.note(text, (-520, -84), (440, height))


def demo(graph: Graph) -> None:
    first, model, (face,) = model_and_picture(graph, "tom")
    second = first.next()
    layout = layout_of(second, face)
    second.group("Where it goes", PICTURE)
    third = second.next()
    positive, negative = prompts(third, model.out("CLIP"), BEACH)
    sampler = demo_keep(third, model, positive, negative, layout)
    third.group("Run", RUN)
    last = third.next()
    last.add("SaveImage", images=sampler.out("image"), filename_prefix="sow_demo")
    sheet = last.add("SOW_CycleSheet", trace=sampler.out("trace"))
    last.add("PreviewImage", "How it grew", images=sheet.out("sheet"))
    last.group("Result", RESULT)
    note(graph,
         "## Keep a face, grow a scene\nNothing to download: model and picture come with the pack.\n\n1. Press "
         "**Run**: "
         "the face stays, a scene grows around it.\n2. Change the words in **Scene**, or the face's place, and run "
         "again." + CANVASES + OWN_PICTURE + "\n\n### A real checkpoint\nPut **Load Checkpoint** in the place of *SOW "
         "Load Demo Model*, set *width* and *height* to 512. The demo model knows only 128x128 cartoon portraits and "
         "cubes.", 820)


def flow_demo(graph: Graph) -> None:
    first = Column(graph, 0)
    model = first.add("SOW_LoadDemoModel", model="demo_flow")
    first.group("Model", MODEL)
    face = first.add("SOW_LoadExample", example="mia")
    first.group("Picture to keep", PICTURE)
    second = first.next()
    layout = layout_of(second, face)
    second.group("Where it goes", PICTURE)
    third = second.next()
    positive, negative = prompts(third, model.out("CLIP"), "a photo of a smiling woman wearing a dress in a forest")
    sampler = demo_keep(third, model, positive, negative, layout, cfg=FLOW_CFG)
    third.group("Run", RUN)
    last = third.next()
    last.add("SaveImage", images=sampler.out("image"), filename_prefix="sow_flow")
    sheet = last.add("SOW_CycleSheet", trace=sampler.out("trace"))
    last.add("PreviewImage", "How it grew", images=sheet.out("sheet"))
    last.group("Result", RESULT)
    note(graph,
         "## The same on a flow transformer\nNothing to download: *demo_flow* is Stable Diffusion 3's architecture in "
         "small.\n\n1. Press **Run**: the face stays, a scene grows around it.\n2. Choose *demo* in **SOW Load Demo "
         "Model** and set *cfg* to 5 to see the same on a UNet.\n\nWhat differs: canvas and boxes lie on the model's "
         "tokens, 16 px, and the node says where it has moved a box; levels mean the same share of noise, whatever the "
         "model's own shift." + CANVASES, 560)


def flow_picture(graph: Graph, loaders: Callable[[Column], tuple[Any, Any, Any]], words: str, told: float | None,
                 prefix: str, text: str) -> None:
    """A photograph kept on a flow transformer that is loaded in parts. told: a guidance number for the positive."""
    first = Column(graph, 0)
    model, clip, vae = loaders(first)
    first.group("Model", MODEL)
    cat = first.add("SOW_LoadExample", example="cat")
    first.group("Picture to keep", PICTURE)
    second = first.next()
    layout = layout_of(second, cat, CAT_AT_512, 1024)
    second.group("Where it goes", PICTURE)
    third = second.next()
    positive, negative = prompts(third, clip, words)
    if told is not None:
        positive = third.add("FluxGuidance", conditioning=positive.out(), guidance=told)
    options = third.add("SOW_CycleOptions", level_shift=SHIFT_AT_1024)
    sampler = keep(third, model, positive, negative, vae, layout, cfg=1.0, cycle_options=options.out("cycle_options"))
    third.group("Run", RUN)
    last = third.next()
    composite = last.add("SOW_Composite", image=sampler.out("image"), layout=layout.out("layout"))
    last.add("SaveImage", images=composite.out("image"), filename_prefix=prefix)
    last.group("Result, with the picture's own pixels", RESULT)
    note(graph, text + CANVASES + OWN_PICTURE + UNTRIED, 820)


def flux(graph: Graph) -> None:
    def loaders(column: Column) -> tuple[Any, Any, Any]:
        net = column.add("UNETLoader", unet_name="flux1-dev.safetensors", weight_dtype="default")
        clip = column.add("DualCLIPLoader", clip_name1="clip_l.safetensors", clip_name2="t5xxl_fp16.safetensors",
                          type="flux")
        return net.out("MODEL"), clip.out("CLIP"), column.add("VAELoader", vae_name="ae.safetensors").out("VAE")

    flow_picture(graph, loaders, "a photo of a cat sitting in a flower garden, sunny day", 3.5, "sow_flux",
                 "## A photograph on Flux.1\n1. Choose the files of Flux.1 dev in the three loaders.\n2. Press **Run**."
                 "\n\nFlux is told its guidance by **FluxGuidance**; *cfg* stays 1, and *Not wanted* is unused. For "
                 "schnell bypass that node (Ctrl+B).")


def z_image(graph: Graph) -> None:
    def loaders(column: Column) -> tuple[Any, Any, Any]:
        net = column.add("UNETLoader", unet_name="z_image_turbo_bf16.safetensors", weight_dtype="default")
        clip = column.add("CLIPLoader", clip_name="qwen_3_4b.safetensors", type="lumina2")
        return net.out("MODEL"), clip.out("CLIP"), column.add("VAELoader", vae_name="ae.safetensors").out("VAE")

    flow_picture(graph, loaders, "a photo of a cat sitting in a flower garden, sunny day", None, "sow_z_image",
                 "## A photograph on Z-Image Turbo\n1. Choose the files of Z-Image Turbo in the three loaders.\n2. "
                 "Press **Run**.\n\nTurbo is made for *cfg* 1: *Not wanted* is unused. For the base model set *cfg* to "
                 "4.")


def checkpoint_lora(graph: Graph) -> None:
    first = Column(graph, 0)
    loader = first.add("CheckpointLoaderSimple", ckpt_name="v1-5-pruned-emaonly-fp16.safetensors")
    lora = first.add("LoraLoader", model=loader.out("MODEL"), clip=loader.out("CLIP"),
                     lora_name="choose_your_lora.safetensors", strength_model=0.8, strength_clip=0.8)
    first.group("Model", MODEL)
    cat = first.add("SOW_LoadExample", example="cat")
    first.group("Picture to keep", PICTURE)
    second = first.next()
    layout = layout_of(second, cat, CAT_AT_512, 512)
    second.group("Where it goes", PICTURE)
    third = second.next()
    positive, negative = prompts(third, lora.out("CLIP"), "a photo of a cat sitting in a flower garden, sunny day",
                                 NEGATIVE)
    sampler = keep(third, lora.out("MODEL"), positive, negative, loader.out("VAE"), layout)
    third.group("Run", RUN)
    last = third.next()
    composite = last.add("SOW_Composite", image=sampler.out("image"), layout=layout.out("layout"))
    last.add("SaveImage", images=composite.out("image"), filename_prefix="sow_checkpoint")
    last.group("Result, with the picture's own pixels", RESULT)
    note(graph,
         "## A photograph, a checkpoint, a LoRA\n1. Choose a Stable Diffusion 1.5 checkpoint in **Load "
         "Checkpoint**.\n2. "
         "Choose a LoRA of the same family, or select **Load LoRA** and press Ctrl+B to bypass it.\n3. Press **Run**."
         + CANVASES + OWN_PICTURE + "\n\nFor SDXL set *width* and *height* to 1024.", 760)


def planner_offline(graph: Graph) -> None:
    first, model, (face,) = model_and_picture(graph, "tom")
    second = first.next()
    plan = second.add("SOW_OfflinePlanner", prompt=BEACH, condition=face.out("image"), mask=face.out("mask"), width=128,
                      height=128, kind="face", min_size=256, clip=model.out("CLIP"))
    second.group("Scene in words, and the plan", WORDS)
    third = second.next()
    layout = layout_of(third, face, (), plan=plan.out("plan"))
    third.group("Where it goes", PICTURE)
    fourth = third.next()
    positive = fourth.add("CLIPTextEncode", "Planned prompt", text=plan.out("prompt"), clip=model.out("CLIP"))
    negative = fourth.add("CLIPTextEncode", "Not wanted", text="", clip=model.out("CLIP"))
    sampler = demo_keep(fourth, model, positive, negative, layout)
    fourth.group("Run", RUN)
    last = fourth.next()
    last.add("SaveImage", images=sampler.out("image"), filename_prefix="sow_planned")
    last.add("PreviewAny", "What was planned", source=plan.out("report"))
    last.group("Result", RESULT)
    note(graph,
         "## The place planned by rules\nNothing to download, no key.\n\n1. Press **Run**: **SOW Offline Planner** "
         "decides "
         "where the face goes and where it continues.\n2. Write a place into its *prompt* (*in the middle*, *on the "
         "left*) and run again.\n3. To overrule it, type a box into *bboxes* of **SOW Layout**.\n\n*min_size* is 256 "
         "because the demo model knows faces of 64 of its 128 pixels; leave it at 180 for real checkpoints.", 460)


def planner_gemini(graph: Graph) -> None:
    first = Column(graph, 0)
    loader = first.add("CheckpointLoaderSimple", ckpt_name="v1-5-pruned-emaonly-fp16.safetensors")
    first.group("Model", MODEL)
    cat = first.add("SOW_LoadExample", example="cat")
    first.group("Picture to keep", PICTURE)
    clip = loader.out("CLIP")
    second = first.next()
    plan = second.add("SOW_GeminiPlanner", prompt="a photo of a cat sitting in a flower garden",
                      condition=cat.out("image"), mask=cat.out("mask"), width=512, height=512, clip=clip)
    second.group("Scene in words, and the plan", WORDS)
    third = second.next()
    layout = layout_of(third, cat, (), 512, plan=plan.out("plan"))
    third.group("Where it goes", PICTURE)
    fourth = third.next()
    positive = fourth.add("CLIPTextEncode", "Planned prompt", text=plan.out("prompt"), clip=clip)
    negative = fourth.add("CLIPTextEncode", "Not wanted", text=NEGATIVE, clip=clip)
    sampler = keep(fourth, loader.out("MODEL"), positive, negative, loader.out("VAE"), layout)
    fourth.group("Run", RUN)
    last = fourth.next()
    last.add("SaveImage", images=sampler.out("image"), filename_prefix="sow_gemini")
    last.add("PreviewAny", "What was planned", source=plan.out("report"))
    last.add("PreviewAny", "The plan, to keep", source=plan.out("plan_json"))
    last.group("Result", RESULT)
    note(graph,
         "## Planned by Gemini\n1. Set the environment variable **GEMINI_API_KEY** before ComfyUI starts, and `pip "
         "install "
         "google-genai`. Without them this workflow plans offline and says so.\n2. Choose a Stable Diffusion 1.5 "
         "checkpoint.\n3. Press **Run**.\n\nThe picture (only what the mask keeps) and the text are sent to Google. "
         "The "
         "key is never part of a workflow.\n\nPaste *The plan, to keep* into **SOW Plan From JSON**, and others repeat "
         "the picture without a key.", 460)


def composable(graph: Graph) -> None:
    first, model, (face,) = model_and_picture(graph, "tom")
    options = first.add("SOW_CycleOptions", preserve="4,3,2", adaptive=True)
    attention = first.add("SOW_AttentionOptions", suppress=1.5)
    first.group("Every knob", MODEL)
    second = first.next()
    layout = layout_of(second, face)
    second.group("Where it goes", PICTURE)
    third = second.next()
    positive, negative = prompts(third, model.out("CLIP"), BEACH)
    encoded = third.add("SOW_EncodeLayout", layout=layout.out("layout"), vae=model.out("VAE"),
                        cycle_options=options.out())
    sampler = third.add("SOW_Sampler", encoded=encoded.out("encoded"), cycle_options=options.out(),
                        attention_options=attention.out())
    guider = third.add("SOW_Guider", model=model.out("MODEL"), positive=positive.out(), negative=negative.out(),
                       cfg=DEMO_CFG)
    noise = third.add("RandomNoise", noise_seed=7)
    sigmas = third.add("BasicScheduler", "Sigmas (not used by SOW)", model=model.out("MODEL"),
                       scheduler="ddim_uniform", steps=10)
    third.group("The parts", RUN)
    last = third.next()
    run = last.add("SamplerCustomAdvanced", noise=noise.out(), guider=guider.out(), sampler=sampler.out(),
                   sigmas=sigmas.out(), latent_image=encoded.out("latent"))
    decode = last.add("VAEDecode", samples=run.out(0), vae=model.out("VAE"))
    last.add("SaveImage", images=decode.out(), filename_prefix="sow_composable")
    last.group("Run and result", RESULT)
    note(graph,
         "## The parts of SOW KSampler\nNothing to download. For those who build with **SamplerCustomAdvanced**.\n\n1. "
         "Press **Run**.\n2. Turn the knobs in *SOW Cycle Options* and *SOW Attention Options*: every one of the "
         "method "
         "is there." + CANVASES, 420)


def two_conditions(graph: Graph) -> None:
    first, model, (one, two) = model_and_picture(graph, "tom", "rose")
    options = first.add("SOW_CycleOptions", preserve="4,3,2,1")
    first.group("Hold both to the end", MODEL)
    second = first.next()
    lower = layout_of(second, one, ("0.0625,0.25,0.40625,0.40625 first face", "0,0.625,0.5,0.375 related: body"))
    second.group("First face", PICTURE)
    third = second.next()
    upper = layout_of(third, two, ("0.53125,0.25,0.40625,0.40625 second face", "0.5,0.625,0.5,0.375 related: body"),
                      colour=COLOURS[1], layout=lower.out("layout"))
    third.group("Second face, on top", PICTURE)
    fourth = third.next()
    positive, negative = prompts(fourth, model.out("CLIP"), "a photo of a man and a woman in a flower garden")
    sampler = demo_keep(fourth, model, positive, negative, upper, seed=2, cycle_options=options.out())
    fourth.group("Run", RUN)
    last = fourth.next()
    composite = last.add("SOW_Composite", image=sampler.out("image"), layout=upper.out("layout"), feather=4)
    last.add("SaveImage", images=composite.out("image"), filename_prefix="sow_two")
    last.add("PreviewImage", "Both on one canvas", images=upper.out("preview"))
    last.group("Result", RESULT)
    note(graph,
         "## Two pictures in one scene\nNothing to download.\n\n1. Press **Run**.\n2. Move a face or change the "
         "words, run "
         "again.\n\nThere is one **SOW Layout** per picture, chained through *layout*. Both need the same width and "
         "height; the later one lies on top. *preserve* holds both to the end, **SOW Composite** brings their own "
         "pixels back.\n\nThe demo model has seen single portraits only and grows one body; a real checkpoint makes "
         "more "
         "of two." + CANVASES, 560)


def style_and_attribute(graph: Graph) -> None:
    first, model, (face,) = model_and_picture(graph, "tom")
    second = first.next()
    layout = layout_of(second, face)
    second.group("Where it goes", PICTURE)
    third = second.next()
    clip = model.out("CLIP")
    normal, negative = prompts(third, clip, "a photo of a smiling man wearing a suit in a forest")
    attribute = third.add("CLIPTextEncode", "Another mood", clip=clip,
                          text="a photo of a sad man wearing a straw hat and a suit in a forest")
    style = third.add("CLIPTextEncode", "Another style", clip=clip,
                      text="a pencil sketch of a smiling man wearing a suit in a forest")
    third.group("What may change", WORDS)
    column = third.next()
    for prompt, preset in ((normal, "normal"), (attribute, "attribute"), (style, "style")):
        sampler = demo_keep(column, model, prompt, negative, layout, preset=preset, seed_control="fixed")
        column.add("SaveImage", preset, images=sampler.out("image"), filename_prefix=f"sow_{preset}")
        column.group(f"Preset {preset}", RUN)
        column = column.next()
    note(graph,
         "## One picture, three presets\nNothing to download.\n\n1. Press **Run**: the same face and seed three "
         "times.\n2. "
         "Compare: **normal** keeps the picture as it is. **attribute** lets a smile or a look change with the text. "
         "**style** lets it take the style of the scene.\n3. Change the words and run again." + CANVASES, 460)


def diagnostics(graph: Graph) -> None:
    first, model, (face,) = model_and_picture(graph, "tom")
    second = first.next()
    layout = layout_of(second, face)
    second.group("Where it goes", PICTURE)
    third = second.next()
    positive, negative = prompts(third, model.out("CLIP"), BEACH)
    sampler = demo_keep(third, model, positive, negative, layout, seed_control="fixed")
    third.group("Run", RUN)
    trace = sampler.out("trace")
    fourth = third.next()
    fourth.add("SaveImage", images=sampler.out("image"), filename_prefix="sow_diagnostics")
    fourth.group("Result", RESULT)
    sheet = fourth.add("SOW_CycleSheet", trace=trace)
    heat = fourth.add("SOW_AttentionMap", trace=trace)
    numbers = fourth.add("SOW_Metrics", trace=trace)
    fourth.group("Questions", WORDS)
    last = fourth.next()
    last.add("PreviewImage", "How it grew", images=sheet.out("sheet"))
    last.add("PreviewImage", "What looked at the face", images=heat.out("map"))
    last.add("PreviewImage", "Indicator", images=numbers.out("curve"))
    last.add("PreviewAny", "Numbers", source=numbers.out("report"))
    last.group("Answers", RESULT)
    note(graph,
         "## What happened\nNothing to download.\n\n1. Press **Run**.\n2. Look at the answers: how the scene grew "
         "cycle by "
         "cycle, which parts looked at the face, how visible the seam is.\n\nThe *trace* of a SOW sampler feeds these "
         "nodes. They cost nothing unless they are connected." + CANVASES, 440)


def diffusers(graph: Graph) -> None:
    first = Column(graph, 0)
    pipeline = first.add("SOW_LoadPipeline")
    first.group("Model", MODEL)
    face = first.add("SOW_LoadExample", example="rose")
    first.group("Picture to keep", PICTURE)
    second = first.next()
    layout = layout_of(second, face)
    second.group("Where it goes", PICTURE)
    third = second.next()
    made = third.add("SOW_Generate", pipeline=pipeline.out(), layout=layout.out("layout"),
                     prompt="a photo of a smiling woman wearing a yellow dress in a flower garden", negative_prompt="",
                     seed=7, seed_control="randomize", cfg=DEMO_CFG)
    third.group("Scene in words, and the run", RUN)
    last = third.next()
    last.add("SaveImage", images=made.out("image"), filename_prefix="sow_diffusers")
    last.group("Result", RESULT)
    note(graph,
         "## With the diffusers library\nNothing to download for the demo.\n\n1. Press **Run**.\n2. For a model of "
         "your own put its diffusers folder under *models/diffusers*, press R to refresh the lists and choose it in "
         "**SOW Load Pipeline**.\n\nThe same seed gives the same picture as **SOW KSampler**." + CANVASES, 440)


def separate(graph: Graph) -> None:
    """Text alone, the same seed without and with SOW Separate."""
    things = "a green cylinder, a red cube, a blue sphere and a yellow cylinder on a gray floor"
    first = Column(graph, 0)
    model = first.add("SOW_LoadDemoModel")
    empty = first.add("EmptyLatentImage", width=128, height=128, batch_size=1)
    first.group("Model", MODEL)
    second = first.next()
    positive, negative = prompts(second, model.out("CLIP"), things)
    apart = second.add("SOW_Separate", model=model.out("MODEL"), clip=model.out("CLIP"), prompt=things,
                       words="green cylinder, red cube, blue sphere, yellow cylinder", strength=0.1, depth=1)
    second.group("Which things", WORDS)
    column = second.next()
    for row, (title, source) in enumerate((("As it is", model.out("MODEL")), ("Kept apart", apart.out("model")))):
        sampler = column.add("KSampler", title, model=source, positive=positive.out(), negative=negative.out(),
                             latent_image=empty.out(), seed=5, seed_control="fixed", steps=10, cfg=DEMO_CFG,
                             sampler_name="ddim", scheduler="ddim_uniform")
        picture = column.add("VAEDecode", samples=sampler.out(), vae=model.out("VAE"))
        column.add("SaveImage", title, images=picture.out(), filename_prefix=f"sow_separate_{row}")
        column.group(title, RUN)
        column = column.next()
    note(graph,
         "## Things that stay apart\nNothing to download.\n\n1. Press **Run**: the same seed without and with **SOW "
         "Separate**.\n2. Write the prompt into it as into *Scene*, and name the things.\n\nIt stands between model "
         "and sampler, and works with SOW KSampler too. On the demo model no gain could be shown; try it on a "
         "checkpoint that merges things, at strengths of 0.1 to 0.3, *depth* 2.", 380)


def three_turns(column: Column, loader: Node, ports: tuple[str, str, str], picture: Any,
                turns: tuple[dict[str, Any], ...]) -> tuple[Column, Node]:
    """SOW Turn after SOW Turn, each fed by the one before. A turn with the value planned has a SOW Turn Plan."""
    image, history, node = picture, None, None
    parts = {name: loader.out(port) for name, port in zip(("model", "clip", "vae"), ports, strict=True)}
    for number, values in enumerate(turns, start=1):
        more = {} if history is None else {"history": history}
        if planned := values.get("planned"):
            values = {name: value for name, value in values.items() if name != "planned"}
            plan = column.add("SOW_TurnPlan", f"What turn {number} would change", image=image, instruction=planned,
                              **parts, **more)
            more = {"plan": plan.out("plan")}
        node = column.add("SOW_Turn", f"Turn {number}", image=image, seed_control="fixed", **parts, **more, **values)
        image, history = node.out("image"), node.out("history")
        column.group(f"Turn {number}", RUN)
        column = column.next()
    assert node is not None
    return column, node


def turns_demo(graph: Graph) -> None:
    words = "a blue sphere on a gray floor"
    first = Column(graph, 0)
    model = first.add("SOW_LoadDemoModel")
    empty = first.add("EmptyLatentImage", width=128, height=128, batch_size=1)
    first.group("Model", MODEL)
    second = first.next()
    positive, negative = prompts(second, model.out("CLIP"), words)
    sampler = second.add("KSampler", "First picture", model=model.out("MODEL"), positive=positive.out(),
                         negative=negative.out(), latent_image=empty.out(), seed=4, seed_control="fixed", steps=10,
                         cfg=DEMO_CFG, sampler_name="ddim", scheduler="ddim_uniform")
    start = second.add("VAEDecode", samples=sampler.out(), vae=model.out("VAE"))
    second.group("A picture to begin with", PICTURE)
    usual = {"cfg": DEMO_CFG, "feather": 4}
    last, node = three_turns(second.next(), model, ("MODEL", "CLIP", "VAE"), start.out(), (
        usual | {"instruction": "add a red cube left of the blue sphere", "prompt": words, "seed": 1,
                 "things": SPHERE},
        usual | {"instruction": "add a green cylinder in front of the blue sphere", "seed": 1},
        usual | {"planned": "make the cube yellow", "seed": 1},
    ))  # fmt: skip
    last.add("SaveImage", images=node.out("image"), filename_prefix="sow_turns")
    sheet = last.add("SOW_TurnsSheet", history=node.out("history"))
    last.add("PreviewImage", "Every turn", images=sheet.out("sheet"))
    last.group("Result", RESULT)
    note(graph,
         "## One instruction after another\nNothing to download.\n\n1. Press **Run**: three turns, each changes one "
         "place. Outside of it no pixel differs.\n2. Change an instruction: *remove the sphere*, *replace the cube "
         "with a purple sphere*, *move the cylinder to the left*.\n3. For another turn copy the last **SOW Turn** and "
         "connect *image* and *history*. The third one's instruction stands in **SOW Turn Plan**, which draws what is "
         "going to change before anything is painted; a turn works without one, too.\n\n*things* tells where the first "
         "picture's sphere is, since no turn made it; "
         "if you change that picture, change its box. The demo model knows at most four objects.", 540)


def turns_checkpoint(graph: Graph) -> None:
    first = Column(graph, 0)
    loader = first.add("CheckpointLoaderSimple", ckpt_name="v1-5-pruned-emaonly-fp16.safetensors")
    cat = first.add("SOW_LoadExample", example="cat")
    photo = first.add("ImageScale", image=cat.out("image"), upscale_method="lanczos", width=512, height=512,
                      crop="center")
    first.group("Model and a photograph", MODEL)
    last, node = three_turns(first.next(), loader, ("MODEL", "CLIP", "VAE"), photo.out(), (
        {"instruction": "add a hat", "prompt": "a photo of a cat", "seed": 1, "regions": "160,16,200,128"},
        {"instruction": "make the hat red", "seed": 1},
        {"instruction": "change the background to a flower garden", "seed": 1, "things": "cat=64,64,384,448"},
    ))  # fmt: skip
    last.add("SaveImage", images=node.out("image"), filename_prefix="sow_turns")
    sheet = last.add("SOW_TurnsSheet", history=node.out("history"))
    last.add("PreviewImage", "Every turn", images=sheet.out("sheet"))
    last.group("Result", RESULT)
    note(graph,
         "## One instruction after another, on a photograph\n1. Choose a Stable Diffusion 1.5 checkpoint.\n2. Give a "
         "picture of your own, 512x512, and say in *prompt* of the first turn all that it shows.\n3. Say what is to "
         "change; in *regions* where (x,y,width,height in pixels), or connect a mask.\n4. Press **Run**.\n\n*planner* "
         "gemini finds the places by itself; it sends picture and text to Google.", 420)


SPHERE = "blue sphere=64,45,27,29"
"""Where the first picture's sphere is, with the workflow's seed."""


def find_picture(graph: Graph) -> None:
    first = Column(graph, 0)
    model = first.add("SOW_LoadDemoModel")
    first.group("Model", MODEL)
    found = first.add("SOW_FindPicture", place="examples", method="compodiff",
                      text="a photo of a smiling old woman with gray hair in a bun wearing a striped sweater in a "
                           "forest")
    first.group("Picture to keep", PICTURE)
    second = first.next()
    layout = second.add("SOW_Layout", condition=found.out("found"), mask=found.out("mask"), crop_to_mask=True,
                        **places(FACE_AT_128, 128))
    second.group("Where it goes", PICTURE)
    third = second.next()
    positive, negative = prompts(third, model.out("CLIP"),
                                 "a photo of a smiling old woman with gray hair wearing a suit on a beach")
    sampler = demo_keep(third, model, positive, negative, layout)
    third.group("Run", RUN)
    last = third.next()
    last.add("SaveImage", images=sampler.out("image"), filename_prefix="sow_found")
    last.add("PreviewImage", "What was found", images=found.out("sheet"))
    last.group("Result", RESULT)
    note(graph,
         "## Find, lay out, sample\nNothing to download.\n\n1. Press **Run**: **SOW Find Picture** chooses the face to "
         "keep from the pack's gallery by your words, written as a caption.\n2. Change its *text*, or set *rank* to 2 "
         "for the next best.\n\nFor your own pictures put them into a folder of ComfyUI's *input*, set *place* to "
         "input, and choose a CLIP model as *encoder*: the demo encoder knows drawn portraits and cubes only. With a "
         "picture connected to *image* it finds pictures like that one, but as the text says.", 420)


WORKFLOWS: dict[str, Callable[[Graph], None]] = {
    "01_keep_a_face_no_download": demo,
    "02_planned_by_rules_no_download": planner_offline,
    "03_two_faces_no_download": two_conditions,
    "04_normal_attribute_style_no_download": style_and_attribute,
    "05_what_happened_no_download": diagnostics,
    "06_parts_for_custom_sampling_no_download": composable,
    "07_diffusers_no_download": diffusers,
    "08_things_apart_no_download": separate,
    "09_one_instruction_after_another_no_download": turns_demo,
    "10_found_in_a_gallery_no_download": find_picture,
    "11_keep_a_face_on_a_flow_transformer_no_download": flow_demo,
    "20_photo_checkpoint_lora": checkpoint_lora,
    "21_planned_by_gemini_checkpoint": planner_gemini,
    "22_instructions_on_a_photo_checkpoint": turns_checkpoint,
    "23_photo_flux": flux,
    "24_photo_z_image_turbo": z_image,
}
"""By name, as the template browser shows it: what runs as it is comes first."""
