"""Take the golden object_info from a running ComfyUI with this pack, and write the English locale from it.

    python tests/nodes/capture.py http://127.0.0.1:8188

The server should have no models, so that the lists of files are the same everywhere. Core nodes are taken
too, those that the workflows use: with them the workflows are validated where no ComfyUI is.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "nodes" / "golden" / "object_info.json"
CORE = (
    "LoadImage", "LoadImageMask", "SaveImage", "PreviewImage", "PreviewAny", "ImageBatch", "ImageScale",
    "CheckpointLoaderSimple", "LoraLoader", "VAELoader", "CLIPTextEncode", "CFGGuider", "RandomNoise",
    "BasicScheduler", "KSamplerSelect", "SamplerCustomAdvanced", "VAEDecode", "EmptyLatentImage", "KSampler",
    "CreateBoundingBoxes", "MaskPreview", "InvertMask", "UNETLoader", "CLIPLoader", "DualCLIPLoader", "FluxGuidance",
)  # fmt: skip
INPUT_FILES = ["example.png"]


def capture(server: str) -> dict:
    with urllib.request.urlopen(f"{server.rstrip('/')}/object_info") as response:
        info = json.load(response)
    names = sorted(name for name in info if name.startswith("SOW_")) + [name for name in CORE if name in info]
    made = {name: info[name] for name in names}
    for name in ("LoadImage", "LoadImageMask"):  # whatever lies in that server's input folder
        spec = made[name]["input"]["required"]["image"]
        if isinstance(spec[0], list):
            spec[0] = INPUT_FILES
        else:
            spec[1]["options"] = INPUT_FILES
    for entry in made.values():
        if entry["python_module"].startswith("custom_nodes."):
            entry["python_module"] = "custom_nodes.comfyui-sow"
    return made


def english(info: dict) -> dict:
    """The words of the schemas in the form of the host's locales/<language>/nodeDefs.json."""
    made = {}
    for name in sorted(n for n in info if n.startswith("SOW_")):
        node = info[name]
        inputs = {
            key: {"name": options.get("display_name", key), "tooltip": options["tooltip"]}
            for group in ("required", "optional")
            for key, (_, options) in node["input"].get(group, {}).items()
        }
        outputs = {
            str(i): {"name": label, "tooltip": tooltip}
            for i, (label, tooltip) in enumerate(zip(node["output_name"], node["output_tooltips"], strict=True))
        }
        made[name] = {"display_name": node["display_name"], "description": node["description"],
                      "inputs": inputs, "outputs": outputs}
    return made


def write(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    found = capture(sys.argv[1])
    write(GOLDEN, found)
    write(ROOT / "locales" / "en" / "nodeDefs.json", english(found))
