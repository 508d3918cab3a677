"""Pictures made in turns: an instruction changes one place, and nothing else changes."""
