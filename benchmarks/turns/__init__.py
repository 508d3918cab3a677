"""`bench turns`: scenes built and portraits changed by one instruction after another."""
