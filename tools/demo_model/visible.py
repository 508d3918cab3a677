"""Which attributes a picture can be asked for at all: a sketch has no colours, a hat hides the hairstyle."""

from __future__ import annotations

from .attributes import Portrait


def hidden(p: Portrait) -> set[str]:
    """Names of attributes that this picture does not show."""
    out: set[str] = set()
    if p.style == "pencil":
        out |= {"skin", "hair_color", "eyes", "clothes_color"}
    if p.style == "pixel":
        out |= {"eyes", "old", "face_shape", "gender"}
    if p.glasses == "sunglasses":
        out.add("eyes")
    if p.hair_style == "bald":
        out.add("hair_color")
    if p.hat != "none":
        out.add("hair_style")
        if p.hair_style in ("short", "spiky", "bun"):
            out.add("hair_color")
    if p.beard == "yes":
        out.add("face_shape")
    return out


def values(p: Portrait) -> dict[str, str]:
    """Attribute values in the judges' names (age becomes old: no or yes), hidden ones left out."""
    keys = ("style", "background", "clothes", "clothes_color", "gender", "skin", "face_shape", "hair_style",
            "hair_color", "eyes", "mouth", "glasses", "hat", "beard")  # fmt: skip
    told = {k: getattr(p, k) for k in keys} | {"old": "yes" if p.age == "old" else "no"}
    gone = hidden(p)
    return {k: v for k, v in told.items() if k not in gone}
