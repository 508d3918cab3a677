"""Wrappers of the host's calls, as far as the pack adds one."""


class WrappersMP:
    APPLY_MODEL = "apply_model"


def add_wrapper_with_key(wrapper_type, key, wrapper, transformer_options, is_model_options=False):
    assert not is_model_options
    transformer_options.setdefault("wrappers", {}).setdefault(wrapper_type, {}).setdefault(key, []).append(wrapper)
