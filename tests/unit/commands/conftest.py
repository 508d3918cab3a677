"""The commands' tests plan too: the planner's scripted server, and no settings of the developer's."""

from unit.planning.conftest import _own_home, server  # noqa: F401
