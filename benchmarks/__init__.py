"""Measurements that need a clone of the project: `python -m sow_core bench NAME`."""
