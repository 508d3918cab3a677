"""`python -m sow_core`."""

import sys

try:
    from .cli import main

    code = main()
except KeyboardInterrupt:  # pressed while the line above was imported, before `main` could see it
    print("interrupted", file=sys.stderr)
    code = 130
sys.exit(code)
