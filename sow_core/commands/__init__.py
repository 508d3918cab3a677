"""The subcommands of `python -m sow_core`, one file each: `add_arguments(parser)` and `run(args) -> exit code`."""
