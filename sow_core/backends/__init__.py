"""Models behind one protocol (`base`): diffusers here, ComfyUI's own in the node pack."""
