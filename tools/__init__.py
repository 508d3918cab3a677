"""Tools that build what the project ships. Not needed at run time."""
