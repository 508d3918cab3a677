"""SOW: Selective One-Way Diffusion (arXiv 2411.19182), the engine without a host.

Importing this package imports nothing heavy; torch is loaded by the modules that compute.
"""

__version__ = "0.1.0"
