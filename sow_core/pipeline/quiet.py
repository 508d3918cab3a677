"""Keep the libraries' bars and warnings off the command line: what matters of them comes as an exception."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def quiet_libraries(bars: bool = False) -> Iterator[None]:
    """No warnings of diffusers, transformers, PIL or Python inside; as before after it. bars: leave progress bars."""
    import diffusers.utils.logging
    import transformers.utils.logging

    with ExitStack() as after, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for library in (diffusers.utils.logging, transformers.utils.logging):
            after.callback(library.set_verbosity, library.get_verbosity())
            library.set_verbosity_error()
            if not bars and library.is_progress_bar_enabled():
                after.callback(library.enable_progress_bar)
                library.disable_progress_bar()
        yield
