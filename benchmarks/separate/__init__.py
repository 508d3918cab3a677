"""Do two things stay two? Counts on the cube world (`python -m sow_core bench separate`)."""
