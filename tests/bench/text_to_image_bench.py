#!/usr/bin/env python3
"""Measures the stages of text to image beside Python's diffusers, on the LibTorch of denoised.

    build/release/bin/denoise new-model /tmp/sd15 --like sd15
    tests/bench/text_to_image_bench.py /tmp/sd15 --ours build/release/bin
    tests/bench/text_to_image_bench.py --quick --ours build/release/bin    # shows that it works

Loading, the text encoder, evaluations of the network, the autoencoder and previews of a Stable
Diffusion 1 or 2, on the CPU in float32 unless --device and --dtype say otherwise. diffusers runs
without a compiler or graphs, as its users call it. --python names a Python that has diffusers,
transformers and torch; otherwise the first run creates a virtual environment of 4 GB in
${XDG_CACHE_HOME:-~/.cache}/denoised, which diffusers_bench.py uses, too.

Both sides hold the model at the same time and take turns: each measurement of one is followed by
the same of the other, and the order changes from round to round. A ratio is computed within its
round, and the table shows the median over the rounds; above 1, denoised is the faster. Ctrl-C ends
the measuring and shows what there is.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

from diffusers_support import (
    PROCESS_ENVIRONMENT,
    create_environment,
    default_cache,
    print_table,
    say,
)

ROOT = pathlib.Path(__file__).resolve().parents[2]


# ---------------------------------------------------------------------------------------------
# Diffusers, inside the environment. Speaks as text_to_image_bench --json --lockstep does.


DIFFUSERS_CLASSES = [
    "AutoencoderKL",
    "PNDMScheduler",
    "StableDiffusionPipeline",
    "UNet2DConditionModel",
]
TRANSFORMERS_CLASSES = ["CLIPTextModel", "CLIPTokenizer"]


def memory_mib(key):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    return 0


class Stages:
    """The stages of a StableDiffusionPipeline. Methods do the work that is timed."""

    def __init__(self, folder, device, dtype):
        import torch
        from diffusers import StableDiffusionPipeline

        self.torch = torch
        self.device = torch.device(device)
        self.dtype = getattr(torch, dtype)
        self.pipeline = StableDiffusionPipeline.from_pretrained(
            folder, dtype=self.dtype, safety_checker=None, local_files_only=True
        ).to(self.device)
        self.prompts = 0
        self.states = self.prompt()

    def weights_mib(self):
        parts = [self.pipeline.unet, self.pipeline.vae, self.pipeline.text_encoder]
        return sum(p.nbytes for part in parts for p in part.parameters()) / 2**20

    def finish(self):
        """Waits for the device."""
        if self.device.type == "cuda":
            self.torch.cuda.synchronize(self.device)

    def prompt(self, side=0, batch=0):
        self.prompts += 1
        text = f"a red fox in the snow, number {self.prompts}"
        return self.pipeline.encode_prompt(text, self.device, 1, False)[0]

    def latents(self, side, batch):
        size = side // self.pipeline.vae_scale_factor
        shape = (batch, self.pipeline.unet.config.in_channels, size, size)
        return self.torch.randn(shape, device=self.device, dtype=self.dtype)

    def evaluation(self, side, batch):
        states = self.states.expand(batch, -1, -1)
        return self.pipeline.unet(self.latents(side, batch), 500, encoder_hidden_states=states)

    def encode(self, side, batch):
        shape = (batch, 3, side, side)
        picture = self.torch.rand(shape, device=self.device, dtype=self.dtype) * 2 - 1
        return self.pipeline.vae.encode(picture).latent_dist.sample()

    def decode(self, side, batch):
        latents = self.latents(side, batch) / self.pipeline.vae.config.scaling_factor
        return self.pipeline.vae.decode(latents).sample


def measurements(options):
    """What to measure, in the order of text_to_image_bench. Previews have no counterpart here."""
    yield "prompt", 0, 0
    for side in options.sizes:
        for batch in options.batches:
            if side * side * batch <= options.max_pixels:
                yield "evaluation", side, batch
        for what in ["preview", "encode", "decode"]:
            yield what, side, 1


def seconds(stages, function, *arguments):
    stages.finish()
    start = time.perf_counter()
    function(*arguments)
    stages.finish()
    return time.perf_counter() - start


def print_line(line):
    print(json.dumps(line), flush=True)


def load(options):
    import diffusers
    import torch
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    # Imported lazily otherwise, and not what is measured.
    for module, names in [(diffusers, DIFFUSERS_CLASSES), (transformers, TRANSFORMERS_CLASSES)]:
        for name in names:
            getattr(module, name)

    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = memory_mib("VmRSS")
    start = time.perf_counter()
    stages = Stages(options.model, options.device, options.dtype)
    stages.finish()
    print_line(
        {
            "what": "load",
            "seconds": time.perf_counter() - start,
            "peak_mib": memory_mib("VmHWM") - before,
            "weights_mib": stages.weights_mib(),
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
            "device": torch.backends.cpu.get_cpu_capability()
            if options.device == "cpu"
            else torch.cuda.get_device_name(options.device),
        }
    )
    return stages


def measure_inside(options):
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    with torch.inference_mode():
        stages = load(options)
        for number in range(options.rounds):
            for what, side, batch in measurements(options):
                if not sys.stdin.readline():
                    return
                line = {"what": what, "side": side, "batch": batch}
                if what != "preview":
                    stage = getattr(stages, what)
                    if number == 0:
                        for _ in range(1 if options.device == "cpu" else 4):
                            stage(side, batch)  # chooses kernels, allocates memory
                    line["seconds"] = seconds(stages, stage, side, batch)
                print_line(line)


# ---------------------------------------------------------------------------------------------
# Both sides


class Side:
    """A process that measures one thing for each line that it is sent."""

    def __init__(self, name, command, options):
        self.name = name
        self.command = [str(part) for part in command]
        for flag in ["sizes", "batches", "max_pixels", "rounds", "threads", "device", "dtype"]:
            value = getattr(options, flag)
            self.command += [f"--{flag.replace('_', '-')}"]
            self.command += [str(v) for v in (value if isinstance(value, list) else [value])]

    def start(self):
        """Starts the process and returns what loading cost."""
        self.process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            env=PROCESS_ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self.read()

    def measure(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"text_to_image_bench: {' '.join(self.command)} failed; its output is above")
        return json.loads(line)

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def in_turn(sides, number):
    return sides if number % 2 == 0 else list(reversed(sides))


def measure_loads(options, sides):
    """Returns {side: [cost, ...]} and leaves one process of each side running."""
    for file in options.model.rglob("*.safetensors"):
        file.read_bytes()  # what is measured is not the disk
    loads = {side.name: [] for side in sides}
    for number in range(options.loads):
        for side in in_turn(sides, number):
            say(f"load {number + 1} of {options.loads}: {side.name}")
            loads[side.name].append(side.start())
            if number + 1 < options.loads:
                side.stop()
    return loads


def measure_rounds(options, sides):
    """Returns {(what, side, batch): {side: [seconds, ...]}}."""
    results = {}
    for number in range(options.rounds):
        for key in measurements(options):
            say(f"round {number + 1} of {options.rounds}: {' '.join(map(str, key))}")
            try:
                costs = {side.name: measure(side, key) for side in in_turn(sides, number)}
            except KeyboardInterrupt:
                say("interrupted; the tables show what was measured")
                return results
            for side, cost in costs.items():
                if cost is not None:
                    results.setdefault(key, {}).setdefault(side, []).append(cost)
    for side in sides:
        side.stop()
    return results


def measure(side, key):
    """Seconds; None where the side has no such stage."""
    line = side.measure()
    if (line["what"], line["side"], line["batch"]) != key:
        sys.exit(f"text_to_image_bench: {side.name} measured {line}, not {key}")
    return line.get("seconds")


# ---------------------------------------------------------------------------------------------
# The report


def cells_of(values, digits, ratio_digits=2):
    """The medians of both sides, and the median, lowest and highest ratio."""
    cells = [f"{statistics.median(values['diffusers']):.{digits}f}"]
    if "denoised" in values:
        cells.append(f"{statistics.median(values['denoised']):.{digits}f}")
        ratios = [a / b for a, b in zip(values["diffusers"], values["denoised"], strict=True)]
        for ratio in [statistics.median(ratios), min(ratios), max(ratios)]:
            cells.append(f"{ratio:.{ratio_digits}f}")
    return cells


def load_table(loads, columns):
    def values(function):
        return {side: [function(cost) for cost in costs] for side, costs in loads.items()}

    return [
        ["loading", *columns],
        ["seconds", *cells_of(values(lambda cost: cost["seconds"]), 1)],
        ["peak memory, MiB", *cells_of(values(lambda cost: cost["peak_mib"]), 0)],
        [
            "peak memory / weights",
            *cells_of(values(lambda cost: cost["peak_mib"] / cost["weights_mib"]), 2),
        ],
    ]


STAGES = {
    "prompt": "encode a prompt",
    "evaluation": "evaluation",
    "encode": "encode a picture",
    "decode": "decode a picture",
}


def stage_table(results, columns):
    table = [["stage", "pixels", "batch", *columns]]
    for (what, side, batch), values in results.items():
        if what in STAGES:
            size = f"{side} x {side}" if side else ""
            table.append([STAGES[what], size, str(batch or ""), *cells_of(values, 4)])
    return table


def print_previews(results):
    for (what, side, batch), values in results.items():
        one = results.get(("evaluation", side, 1))
        if what == "preview" and one and "denoised" in values:
            share = statistics.median(values["denoised"]) / statistics.median(one["denoised"])
            print(f"A preview at {side} x {side} costs {100 * share:.3f} % of an evaluation.")


def print_report(options, loads, results):
    about = loads["diffusers"][0]
    print(
        f"diffusers {about['diffusers']}, transformers {about['transformers']}, "
        f"torch {about['torch']}, {about['device']}, {options.dtype}, {options.threads} threads; "
        f"medians of {options.loads} loads and {options.rounds} rounds"
    )
    columns = ["diffusers"]
    if len(loads) > 1:
        columns += ["denoised", "ratio", "lowest", "highest"]
    print_table("Loading", load_table(loads, columns))
    print_table("Stages, in seconds", stage_table(results, columns))
    print()
    print_previews(results)


def write_json(options, loads, results):
    keys = ["what", "side", "batch"]
    rows = [dict(zip(keys, key)) | {"seconds": values} for key, values in results.items()]
    report = {"threads": options.threads, "loads": loads, "stages": rows}
    options.json.write_text(json.dumps(report, indent=2) + "\n")


def parse_options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    small = ROOT / "tests/data/pipelines/sd15-like"
    parser.add_argument("model", type=pathlib.Path, nargs="?", default=small)
    parser.add_argument(
        "--ours", type=pathlib.Path, metavar="DIR", help="folder of text_to_image_bench"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=8 * 512 * 512,
        help="leaves out batches whose images have more pixels together",
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds of every measurement (3)")
    parser.add_argument("--loads", type=int, default=3, help="how often each side loads (3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of each side")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (cpu)")
    parser.add_argument(
        "--dtype", choices=["float32", "bfloat16", "float16"], default="float32", help="(float32)"
    )
    parser.add_argument("--python", metavar="PROGRAM", help="a Python that has diffusers")
    parser.add_argument("--cache", type=pathlib.Path, default=default_cache())
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="writes every value here")
    parser.add_argument("--quick", action="store_true", help="small images, one round")
    # Used by this script to run itself inside the environment.
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.batches, options.rounds, options.loads = [32], [1, 2], 1, 1
    options.model = options.model.resolve()
    return options


def main():
    options = parse_options()
    if options.inside:
        measure_inside(options)
        return
    python = options.python or create_environment(options.cache.resolve())
    sides = [Side("diffusers", [python, __file__, options.model, "--inside"], options)]
    if options.ours:
        ours = options.ours.resolve() / "text_to_image_bench"
        sides.append(Side("denoised", [ours, options.model, "--json", "--lockstep"], options))
    loads = measure_loads(options, sides)
    results = measure_rounds(options, sides)
    print_report(options, loads, results)
    if options.json:
        write_json(options, loads, results)


if __name__ == "__main__":
    main()
