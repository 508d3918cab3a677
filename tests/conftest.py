"""What every test runs under: one thread, no proxy before loopback servers, nothing fetched by surprise."""

from __future__ import annotations

import os
import sys

# Two spinning OpenMP threads on a busy two-core machine cost 10 to 20 times, not half. Set before torch loads.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
# The suite talks to its own servers on this machine only.
for _name in ("NO_PROXY", "no_proxy"):
    _hosts = [h for h in os.environ.get(_name, "").split(",") if h]
    os.environ[_name] = ",".join(dict.fromkeys([*_hosts, "127.0.0.1", "localhost", "::1"]))
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Figures are drawn to files only.
os.environ.setdefault("MPLBACKEND", "Agg")
# A developer's own key must reach no test, and no test the real service.
for _name in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
    os.environ.pop(_name, None)

if "torch" in sys.modules:  # a plugin was faster: torch reads OMP_NUM_THREADS only while it loads
    sys.modules["torch"].set_num_threads(1)

from hypothesis import settings  # noqa: E402 - not before the threads are set

# An example that is slow because the machine is busy is no failure.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
