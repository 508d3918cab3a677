"""The method: what the paper speaks of, as data and pure functions, and the engine that interprets it."""
