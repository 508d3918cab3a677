"""TV2I-mini: the paper's Tables I to III in miniature, on the demo model (`python -m sow_core bench quality`)."""
