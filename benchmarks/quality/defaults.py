"""Numbers of cases, apart from what needs torch: the command's help tells them."""

from __future__ import annotations

QUICK_CASES, CASES = 2, 60
"""Per setting, with --quick and without."""
