"""`comfy_api.latest.io`, the part that this pack uses, strictly."""

from __future__ import annotations

import inspect
import json
import re
from enum import Enum
from typing import Any


class StrictError(Exception):
    """A schema that the host might take and that this pack must not have."""


def _require(ok: object, message: str) -> None:
    if not ok:
        raise StrictError(message)


def _pruned(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _check_tooltip(what: str, tooltip: str | None) -> None:
    _require(isinstance(tooltip, str) and len(tooltip) >= 15, f"{what} needs a tooltip that explains")
    _require(tooltip == tooltip.strip() and tooltip[-1] in ".!?)", f"{what}: the tooltip must be whole sentences")


class Hidden(str, Enum):
    unique_id = "UNIQUE_ID"
    prompt = "PROMPT"
    extra_pnginfo = "EXTRA_PNGINFO"
    dynprompt = "DYNPROMPT"


class ControlAfterGenerate(str, Enum):
    fixed = "fixed"
    increment = "increment"
    decrement = "decrement"
    randomize = "randomize"


class NumberDisplay(str, Enum):
    number = "number"
    slider = "slider"


class Input:
    """A socket. `options` are the keys of the host's second element, in its names."""

    io_type: str

    def __init__(self, id: str, *, display_name: str | None = None, optional: bool = False, tooltip: str | None = None,
                 lazy: bool | None = None, advanced: bool | None = None) -> None:
        _require(re.fullmatch(r"[a-z][a-z0-9_]*", id), f"input id {id!r}: lower case, digits and _ only")
        self.id, self.optional, self.tooltip = id, optional, tooltip
        self.options: dict[str, Any] = {"display_name": display_name, "tooltip": tooltip, "lazy": lazy,
                                        "advanced": advanced}

    def get_io_type(self) -> str:
        return self.io_type

    def as_dict(self) -> dict[str, Any]:
        return _pruned(self.options)

    def check(self, node: str) -> None:
        _check_tooltip(f"{node}.{self.id}", self.tooltip)

    @property
    def has_widget(self) -> bool:
        return False


class WidgetInput(Input):
    def __init__(self, id: str, *, default: Any = None, socketless: bool | None = None,
                 force_input: bool | None = None, **common: Any) -> None:
        super().__init__(id, **common)
        self.default = default
        self.options |= {"default": default, "socketless": socketless, "forceInput": force_input}

    @property
    def has_widget(self) -> bool:
        return not self.options["forceInput"]

    def check(self, node: str) -> None:
        super().check(node)
        if self.has_widget:
            _require(self.options["default"] is not None, f"{node}.{self.id}: a widget needs a default")


class Output:
    io_type: str

    def __init__(self, id: str | None = None, *, display_name: str | None = None, tooltip: str | None = None,
                 is_output_list: bool = False) -> None:
        self.id, self.display_name, self.tooltip = id, display_name or id, tooltip
        self.is_output_list = is_output_list

    def check(self, node: str) -> None:
        _require(self.id and re.fullmatch(r"[a-z][a-z0-9_]*", self.id), f"{node}: an output has no id")
        _check_tooltip(f"{node}, output {self.id}", self.tooltip)


class _Number(WidgetInput):
    kinds: tuple[type, ...] = (int,)

    def __init__(self, id: str, *, min: float | None = None, max: float | None = None, step: float | None = None,
                 display_mode: NumberDisplay | None = None, **common: Any) -> None:
        super().__init__(id, **common)
        self.min, self.max, self.step = min, max, step
        self.options |= {"min": min, "max": max, "step": step, "display": display_mode and display_mode.value}

    def check(self, node: str) -> None:
        super().check(node)
        where = f"{node}.{self.id}"
        if not self.has_widget:
            return
        _require(self.min is not None and self.max is not None, f"{where}: a number needs min and max")
        _require(type(self.default) in self.kinds, f"{where}: the default has the wrong type")
        _require(self.min <= self.default <= self.max, f"{where}: the default is out of range")


class _IntInput(_Number):
    io_type = "INT"

    def __init__(self, id: str, *, control_after_generate: bool | ControlAfterGenerate | None = None,
                 **common: Any) -> None:
        super().__init__(id, **common)
        self.options["control_after_generate"] = control_after_generate


class _FloatInput(_Number):
    io_type = "FLOAT"
    kinds = (float,)

    def __init__(self, id: str, *, round: float | None = None, **common: Any) -> None:
        super().__init__(id, **common)
        self.options["round"] = round


class _BooleanInput(WidgetInput):
    io_type = "BOOLEAN"

    def __init__(self, id: str, *, label_on: str | None = None, label_off: str | None = None, **common: Any) -> None:
        super().__init__(id, **common)
        self.options |= {"label_on": label_on, "label_off": label_off}

    def check(self, node: str) -> None:
        super().check(node)
        _require(isinstance(self.default, bool), f"{node}.{self.id}: the default is no bool")


class _StringInput(WidgetInput):
    io_type = "STRING"

    def __init__(self, id: str, *, multiline: bool = False, placeholder: str | None = None,
                 dynamic_prompts: bool | None = None, **common: Any) -> None:
        super().__init__(id, **common)
        self.options |= {"multiline": multiline, "placeholder": placeholder, "dynamicPrompts": dynamic_prompts}


class _ComboInput(WidgetInput):
    io_type = "COMBO"

    def __init__(self, id: str, options: list[str] | type[Enum], *,
                 control_after_generate: bool | ControlAfterGenerate | None = None, **common: Any) -> None:
        super().__init__(id, **common)
        if isinstance(options, type):
            options = [member.value for member in options]
        self.choices = options
        self.options |= {"multiselect": False, "options": options,
                         "control_after_generate": control_after_generate}

    def check(self, node: str) -> None:
        super().check(node)
        _require(self.choices and len(set(self.choices)) == len(self.choices), f"{node}.{self.id}: bad options")
        _require(self.default in self.choices, f"{node}.{self.id}: the default is no option")


class _BoundingBoxInput(WidgetInput):
    io_type = "BOUNDING_BOX"

    def __init__(self, id: str, *, display_name: str | None = None, optional: bool = False, tooltip: str | None = None,
                 socketless: bool = True, default: dict | None = None, component: str | None = None,
                 force_input: bool | None = None) -> None:
        super().__init__(id, display_name=display_name, optional=optional, tooltip=tooltip, socketless=socketless,
                         default=default or {"x": 0, "y": 0, "width": 512, "height": 512}, force_input=force_input)
        if component:
            self.options["component"] = component


class _BoundingBoxesInput(WidgetInput):
    io_type = "BOUNDING_BOXES"

    def __init__(self, id: str, *, display_name: str | None = None, optional: bool = False, tooltip: str | None = None,
                 socketless: bool = True, default: list | None = None, advanced: bool | None = None) -> None:
        super().__init__(id, display_name=display_name, optional=optional, tooltip=tooltip, socketless=socketless,
                         default=[] if default is None else default, advanced=advanced)


def _type(io_type: str, widget: type[Input] | None = None) -> type:
    """A type of sockets: `.Input`, `.Output`, `.io_type`."""
    base = widget or Input
    return type(io_type.title(), (), {
        "io_type": io_type,
        "Input": type("Input", (base,), {"io_type": io_type}),
        "Output": type("Output", (Output,), {"io_type": io_type}),
    })


def Custom(io_type: str) -> type:
    _require(io_type.startswith("SOW_"), f"a type of this pack's own needs its prefix: {io_type}")
    return _type(io_type)


Boolean = _type("BOOLEAN", _BooleanInput)
Int = _type("INT", _IntInput)
Float = _type("FLOAT", _FloatInput)
String = _type("STRING", _StringInput)
Combo = _type("COMBO", _ComboInput)
BoundingBox = _type("BOUNDING_BOX", _BoundingBoxInput)
BoundingBoxes = _type("BOUNDING_BOXES", _BoundingBoxesInput)
Image, Mask, Latent = _type("IMAGE"), _type("MASK"), _type("LATENT")
Model, Clip, Vae, Conditioning = _type("MODEL"), _type("CLIP"), _type("VAE"), _type("CONDITIONING")
Sampler, Guider, Sigmas, Noise = _type("SAMPLER"), _type("GUIDER"), _type("SIGMAS"), _type("NOISE")
Array, Dict, AnyType = _type("ARRAY"), _type("DICT"), _type("*")


class MultiType:
    class Input(Input):
        """Several types on one socket; with an input as `id`, that input's widget."""

        def __init__(self, id: str | Input, types: list[type], *, tooltip: str | None = None, optional: bool = False,
                     display_name: str | None = None, **common: Any) -> None:
            self.override = id if isinstance(id, Input) else None
            if self.override is not None:
                tooltip = self.override.tooltip or tooltip
                optional = self.override.optional or optional
                display_name = self.override.options["display_name"] or display_name
                id = self.override.id
            super().__init__(id, tooltip=tooltip, optional=optional, display_name=display_name, **common)
            self.types = types

        def get_io_type(self) -> str:
            names = [t.io_type for t in self.types]
            if self.override is not None:
                names.insert(0, self.override.get_io_type())
            return ",".join(dict.fromkeys(names))

        def as_dict(self) -> dict[str, Any]:
            own = _pruned(self.options)
            if self.override is None:
                return own
            extra = {"widgetType": self.override.io_type} if isinstance(self.override, WidgetInput) else {}
            return self.override.as_dict() | extra | own

        @property
        def has_widget(self) -> bool:
            return self.override is not None and self.override.has_widget


class Schema:
    def __init__(self, node_id: str, *, display_name: str, category: str, inputs: list[Input] | None = None,
                 outputs: list[Output] | None = None, hidden: list[Hidden] | None = None, description: str = "",
                 search_aliases: list[str] | None = None, is_output_node: bool = False, is_experimental: bool = False,
                 is_deprecated: bool = False, is_api_node: bool = False, not_idempotent: bool = False,
                 essentials_category: str | None = None, has_intermediate_output: bool = False) -> None:
        self.node_id, self.display_name, self.category, self.description = node_id, display_name, category, description
        self.inputs, self.outputs, self.hidden = inputs or [], outputs or [], list(hidden or [])
        self.search_aliases, self.essentials_category = search_aliases or [], essentials_category
        self.is_output_node, self.has_intermediate_output = is_output_node, has_intermediate_output
        self.is_experimental, self.is_deprecated, self.is_api_node = is_experimental, is_deprecated, is_api_node
        self.not_idempotent = not_idempotent
        if is_output_node:
            self.hidden += [h for h in (Hidden.prompt, Hidden.extra_pnginfo) if h not in self.hidden]
        self._check()

    def _check(self) -> None:
        name = self.node_id
        _require(re.fullmatch(r"SOW_[A-Za-z]+", name), f"{name!r}: node ids are SOW_ and letters")
        _require(self.display_name.startswith("SOW "), f"{name}: the display name must begin with SOW")
        _require(re.fullmatch(r"SOW(/[a-z]+)?", self.category), f"{name}: category {self.category!r}")
        _require(len(self.description) >= 40, f"{name} needs a description")
        _require(self.search_aliases, f"{name} needs search aliases")
        _require(len(set(self.search_aliases)) == len(self.search_aliases), f"{name}: repeated search alias")
        _require(all(a == a.lower() for a in self.search_aliases), f"{name}: search aliases are lower case")
        ids = [i.id for i in self.inputs] + [o.id for o in self.outputs]
        twice = sorted({x for x in ids if ids.count(x) > 1})
        _require(not twice, f"{name}: ids must be distinct over inputs and outputs, not so: {twice}")
        for part in (*self.inputs, *self.outputs):
            part.check(name)
        optional = [i.optional for i in self.inputs]
        _require(optional == sorted(optional), f"{name}: the host shows required inputs first; list them so")
        _require(self.outputs or self.is_output_node, f"{name} gives nothing")


class NodeOutput:
    def __init__(self, *args: Any, ui: Any = None, block_execution: str | None = None) -> None:
        self.args, self.ui, self.block_execution = args, ui, block_execution

    @property
    def result(self) -> tuple[Any, ...] | None:
        return self.args or None

    def __getitem__(self, index: int) -> Any:
        return self.args[index]


class ComfyNode:
    hidden: Any = None

    @classmethod
    def define_schema(cls) -> Schema:
        raise NotImplementedError

    @classmethod
    def execute(cls, **kwargs: Any) -> NodeOutput:
        raise NotImplementedError

    @classmethod
    def object_info(cls) -> dict[str, Any]:
        """The node's entry of /object_info, less `python_module`, as plain JSON."""
        schema = cls.define_schema()
        cls._check_functions(schema)
        inputs: dict[str, dict[str, Any]] = {"required": {}}
        for i in schema.inputs:
            inputs.setdefault("optional" if i.optional else "required", {})[i.id] = (i.get_io_type(), i.as_dict())
        for hidden in schema.hidden:
            inputs.setdefault("hidden", {})[hidden.name] = (hidden.value,)
        outputs = schema.outputs
        info = {
            "input": inputs,
            "input_order": {key: list(value) for key, value in inputs.items()},
            "is_input_list": False,
            "output": [o.io_type for o in outputs],
            "output_is_list": [o.is_output_list for o in outputs],
            "output_name": [o.display_name for o in outputs],
            "output_tooltips": [o.tooltip for o in outputs],
            "output_matchtypes": None,
            "name": schema.node_id,
            "display_name": schema.display_name,
            "description": schema.description,
            "category": schema.category,
            "output_node": schema.is_output_node,
            "deprecated": schema.is_deprecated,
            "experimental": schema.is_experimental,
            "dev_only": False,
            "api_node": schema.is_api_node,
            "price_badge": None,
            "search_aliases": schema.search_aliases or None,
            "essentials_category": schema.essentials_category,
            "has_intermediate_output": schema.has_intermediate_output,
        }
        return json.loads(json.dumps(info))

    @classmethod
    def _check_functions(cls, schema: Schema) -> None:
        """`execute` takes every input; `validate_inputs` only widgets, each with a default."""
        name = schema.node_id
        ids = {i.id for i in schema.inputs}
        parameters = inspect.signature(cls.execute).parameters
        _require(set(parameters) == ids, f"{name}.execute takes {sorted(parameters)}, the schema has {sorted(ids)}")
        for i in schema.inputs:
            if i.optional:
                _require(parameters[i.id].default is not inspect.Parameter.empty,
                         f"{name}.execute: the optional input {i.id} needs a default")
        validate = getattr(cls, "validate_inputs", None)
        if validate is not None:
            widgets = {i.id for i in schema.inputs if i.has_widget}
            for parameter in inspect.signature(validate).parameters.values():
                _require(parameter.name in widgets, f"{name}.validate_inputs checks {parameter.name}, not a widget")
                _require(parameter.default is not inspect.Parameter.empty,
                         f"{name}.validate_inputs: {parameter.name} needs a default")
