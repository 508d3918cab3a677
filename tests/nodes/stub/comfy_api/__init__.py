"""A strict stand-in for ComfyUI's `comfy_api`, so that the nodes' schemas are tested where no ComfyUI is.

Written from the public interface of ComfyUI 0.27. It gives the same /object_info as the host (a test
compares the two) and is stricter: arguments that the host would not know, inputs and outputs without a
tooltip, ids that are used twice, defaults out of range and nodes that cannot be searched are errors.
"""
