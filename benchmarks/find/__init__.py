"""Composed retrieval in the demo world: `python -m sow_core bench find`."""
