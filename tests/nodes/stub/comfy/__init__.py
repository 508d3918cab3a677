"""The few functions of ComfyUI that SOW Generate calls: device, progress, cancel."""
