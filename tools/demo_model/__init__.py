"""The demo world and the models trained on it.

`world.render(seed)` draws a picture with its caption and ground truth; the commands `render`, `train_vae`,
`train_unet`, `evaluate`, `export` and `train_judges` (each `python -m tools.demo_model.<command> --help`)
turn that world into the diffusers folder `models/demo` and the judges beside it.
"""
