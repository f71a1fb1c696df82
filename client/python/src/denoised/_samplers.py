"""The names of samplers, as `denoise` has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from denoised._enums import enum_names, enum_number
from denoised._message import invalid, set_field
from denoised.v1 import image_generation_pb2, sampler_pb2

#: Names that include the solver's order.
_WITH_ORDER = {
    "dpm_solver_2": ("dpm_solver", 2),
    "dpm_solver_3": ("dpm_solver", 3),
    "dpmpp_2m": ("dpmpp", 2),
    "dpmpp_3m": ("dpmpp", 3),
    "dpmpp_2m_sde": ("dpmpp_sde", 2),
    "dpmpp_3m_sde": ("dpmpp_sde", 3),
    "dpm_solver_2s": ("dpm_solver_singlestep", 2),
    "dpm_solver_3s": ("dpm_solver_singlestep", 3),
    "dpmpp_2s": ("dpmpp_singlestep", 2),
    "dpmpp_3s": ("dpmpp_singlestep", 3),
    "dpmpp_2s_sde": ("dpmpp_sde_singlestep", 2),
    "unipc_1": ("unipc", 1),
    "unipc_2": ("unipc", 2),
    "unipc_3": ("unipc", 3),
}

#: Every name that the keyword `sampler` takes.
SAMPLERS = (*enum_names(sampler_pb2.Sampler.DESCRIPTOR), *_WITH_ORDER)


def set_sampler(
    request: image_generation_pb2.GenerateRequest | image_generation_pb2.PlanSamplerRequest,
    keywords: Mapping[str, Any],
) -> None:
    """Sets `request.sampler` as `SamplerKeywords` say.

    Raises:
        InvalidRequest: a value is none that the option can have.
        TypeError: a value has the wrong type.
    """
    for name, value in keywords.items():
        if value is not None and name != "sampler":
            set_field(request, f"sampler.{name}", value)
    sampler = keywords.get("sampler")
    if sampler is not None:
        _set_named_sampler(request.sampler, sampler)


def _set_named_sampler(options: sampler_pb2.SamplerOptions, name: str) -> None:
    kind, order = _WITH_ORDER.get(name, (name, None))
    number = enum_number(sampler_pb2.Sampler.DESCRIPTOR, kind)
    if number is None:
        raise invalid("sampler.sampler", f'"{name}" is none of {", ".join(SAMPLERS)}')
    if order is not None and options.HasField("solver_order"):
        raise invalid("sampler.solver_order", f'must be absent: "{name}" has an order')
    set_field(options, "sampler", kind)
    if order is not None:
        options.solver_order = order
