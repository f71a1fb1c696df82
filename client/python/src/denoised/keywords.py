"""The keyword arguments of `generate` and `plan`.

They have the names of the flags of `denoise generate`, with underscores. An absent keyword, or
None, leaves the choice to the model or the server. Keywords that set the same choice of a request
exclude each other, and none is ever ignored: the server refuses what would have no effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from denoised.pictures import PictureLike, SampleLike


class SamplerKeywords(TypedDict, total=False):
    """How an image is sampled: the fields of `denoised/v1/sampler.proto`."""

    #: One of `denoised.SAMPLERS`: "ddim", "dpmpp_2m", ...
    sampler: str | None
    #: The number of moves along the noise schedule.
    steps: int | None
    #: Custom timesteps or noise levels (sigma of x / alpha), noisiest first, instead of `steps`.
    timesteps: Sequence[float] | None
    sigmas: Sequence[float] | None
    #: "leading", "trailing" or "linspace".
    timestep_spacing: str | None
    #: "timesteps", "karras", "exponential", "lu", "flow" or "beta".
    sigma_spacing: str | None
    #: Clamps every predicted x0 to plus or minus `clip_sample_range`.
    clip_sample: bool | None
    clip_sample_range: float | None
    #: Dynamic thresholding of every predicted x0 (Saharia et al. 2022).
    thresholding: bool | None
    dynamic_thresholding_ratio: float | None
    sample_max_value: float | None
    #: ddpm: "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned" or
    #: "learned_range".
    variance_type: str | None
    #: ddim and tcd: how much noise, from 0 (none) to 1.
    eta: float | None
    use_clipped_model_output: bool | None
    step_to_listed_timestep: bool | None
    #: Solvers: 1 to 3.
    solver_order: int | None
    #: "midpoint", "heun", "bh1" or "bh2".
    solver_type: str | None
    lower_order_final: bool | None
    euler_at_final: bool | None
    #: "zero" or "sigma_min".
    final_sigma: str | None
    flow_shift: float | None
    #: unipc: the steps that skip the corrector.
    disable_corrector: Sequence[int] | None
    corrected_third_order: bool | None
    #: euler and heun: fresh noise along the way (Karras et al. 2022).
    s_churn: float | None
    s_tmin: float | None
    s_tmax: float | None
    s_noise: float | None
    #: lcm and tcd: how many steps the network was distilled from.
    original_inference_steps: int | None
    #: A factor on the noise that the sampler adds along the way.
    noise_temperature: float | None
    #: The range of sigma (of x / alpha) that the steps cover, and the exponent of "karras".
    sigma_min: float | None
    sigma_max: float | None
    rho: float | None
    rescale_betas_zero_snr: bool | None


class GenerateKeywords(SamplerKeywords, total=False):
    """What to generate: the fields of `GenerateRequest`."""

    #: "emoji-32". Absent: the only model that is served.
    model: str | None
    #: How many images; image i uses `seed + i` (modulo 2^64). Absent: one, of any seed.
    count: int | None
    seed: int | None

    #: A class by name, in upper or lower case, or by index; or a blend of classes.
    class_label: int | str | None
    class_weights: Mapping[int | str, float] | None

    #: What to make, in words, and what guidance leads away from. `prompt_2` and `negative_prompt_2`
    #: are for the second text encoder, where a model has two.
    prompt: str | None
    negative_prompt: str | None
    prompt_2: str | None
    negative_prompt_2: str | None
    #: "weighted" or "literal".
    prompt_syntax: str | None
    #: How many of the text encoder's last layers to leave out.
    clip_skip: int | None
    #: Adapters (LoRA) with their scales; a sequence of names gives each the scale 1.
    adapters: Mapping[str, float] | Sequence[str] | None

    #: In pixels, where the model lets a request choose.
    height: int | None
    width: int | None
    #: The sizes and crops, in pixels, that SDXL is told, and the aesthetic score of its refiner.
    original_height: int | None
    original_width: int | None
    crop_top: int | None
    crop_left: int | None
    target_height: int | None
    target_width: int | None
    aesthetic_score: float | None
    negative_aesthetic_score: float | None

    #: How strongly images follow the prompt or the class; 1 leaves the prediction as it is.
    guidance_scale: float | None
    #: How much of the contrast that guidance adds is taken out again, 0 to 1.
    guidance_rescale: float | None
    #: Guide only at these timesteps, or only at these noise levels (sigma / alpha).
    guidance_min: float | None
    guidance_max: float | None
    guidance_sigma_min: float | None
    guidance_sigma_max: float | None

    #: A `Frame` after every n-th step and after the last.
    frames: int | None
    #: "x0" (what the network predicts), "x_t" (the noisy image), or both in a sequence.
    frame_kind: str | Sequence[str] | None
    #: "png", "jpeg", "webp" or "raw_float32".
    frame_encoding: str | None
    frame_max_bytes: int | None
    #: No frame after the last step, which shows the image that follows.
    frame_skip_last: bool | None
    image_encoding: str | None

    #: Start from this picture with noise added; `strength` is the share of the steps that run on
    #: it, 0.8 where absent.
    init: PictureLike | None
    strength: float | None
    #: Continue from this frame of another generation: of kind "x_t", encoded as "raw_float32".
    #: `branch_step` is the step after which it was sent, plus the `first_step` of that generation;
    #: absent: the `step` of the Frame.
    branch: SampleLike | None
    branch_step: int | None
    #: Start from the noise of this seed, or from this noise of unit variance, [C, H, W].
    from_seed: int | None
    noise: SampleLike | None
    #: Spread the images evenly between that noise and this one.
    to_seed: int | None
    noise_to: SampleLike | None
    #: How far to go from there towards each image's own noise, 0 to 1.
    variation: float | None
    #: Find the noise that becomes this picture; the image is that noise, as "raw_float32".
    invert: PictureLike | None

    #: Generate the white parts of `mask` anew and keep the rest of this picture. With the
    #: `mask_channel` "transparency", its transparent parts instead; absent: "lightness".
    inpaint: PictureLike | None
    mask: PictureLike | None
    mask_channel: str | None
    #: RePaint: how many steps each jump goes back, and how often these steps are taken.
    repaint_jump: int | None
    repaint_times: int | None

    #: "interactive", "normal" or "batch": how it shares the device with others. Absent: "normal".
    priority: str | None
    #: Run as many steps as fit into `timeout` instead of failing.
    allow_fewer_steps: bool | None

    #: Names the generation, so that it can be joined and come back to.
    request_id: str | None
    #: "cancel" or "detach": what happens to the generation once nobody reads it.
    on_disconnect: str | None
