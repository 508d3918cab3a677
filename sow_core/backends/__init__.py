"""Models behind one protocol (`method/backend.py`): diffusers here, ComfyUI's own in the node pack."""
