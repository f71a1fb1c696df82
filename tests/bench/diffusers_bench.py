#!/usr/bin/env python3
"""Measures Python's diffusers on the LibTorch that denoised uses, and denoised beside it.

    tests/bench/diffusers_bench.py                           # diffusers alone
    tests/bench/diffusers_bench.py --ours build/release/bin  # both in one run, with ratios
    tests/bench/diffusers_bench.py --quick                   # shows that it works, no more

Forward passes of the starter model's UNet, and training of a UNet of its shape, on the CPU. The
first run creates a virtual environment of 4 GB in ${XDG_CACHE_HOME:-~/.cache}/denoised; later runs
reuse it. --cache DIR puts it elsewhere.

With --ours, forward_bench and trainer_bench alternate with the same measurement of diffusers for
several rounds, and the order within a pair changes from round to round. Each measurement is a new
process. A ratio is computed within its round, and the table shows the median over the rounds.

Both sides use the same statistics: the fastest of several forward passes, and the median of
several training steps. The training loop is the plain one of diffusers' examples: random noise and
timesteps, DDPMScheduler.add_noise, mean squared error, AdamW; bfloat16 by autocast.
"""

import argparse
import json
import pathlib
import platform
import re
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
BATCHES = [1, 2, 4, 8, 16]
PRECISIONS = ["float32", "bfloat16"]


# ---------------------------------------------------------------------------------------------
# Diffusers, inside the environment


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure_diffusers_forward(options):
    """Returns rows per second by batch size: the fastest of options.repeats forward passes."""
    import torch
    from diffusers import UNet2DModel

    dtype = getattr(torch, options.precision)
    network = UNet2DModel.from_pretrained(
        options.model, subfolder="unet", torch_dtype=dtype, low_cpu_mem_usage=False
    ).eval()
    rates = {}
    for batch in options.batches:
        size = [network.config.sample_size] * 2
        x = torch.randn(batch, network.config.in_channels, *size).to(dtype)
        t = torch.rand(batch) * 999
        classes = network.config.num_class_embeds
        labels = torch.randint(classes, (batch,)) if classes else None
        with torch.inference_mode():
            call = lambda: network(x, t, class_labels=labels).sample
            call()  # chooses kernels, allocates memory
            rates[batch] = batch / min(seconds(call) for _ in range(options.repeats))
    return rates


def measure_diffusers_training(options):
    """Returns images per second: the median of options.steps training steps."""
    import torch
    from diffusers import DDPMScheduler, UNet2DModel

    config = json.loads((options.model / "unet" / "config.json").read_text())
    config["num_class_embeds"] = None  # as trainer_bench, which has no classes
    network = UNet2DModel.from_config(config).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    scheduler = DDPMScheduler(num_train_timesteps=1000)
    size = (options.train_batch, config["in_channels"], *[config["sample_size"]] * 2)
    x0 = torch.rand(size) * 2 - 1

    def step():
        noise = torch.randn_like(x0)
        t = torch.randint(1000, (options.train_batch,))
        x_t = scheduler.add_noise(x0, noise, t)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bfloat16"):
            prediction = network(x_t, t).sample
        loss = torch.nn.functional.mse_loss(prediction.float(), noise)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()

    step()  # chooses kernels, allocates memory
    return options.train_batch / statistics.median(seconds(step) for _ in range(options.steps))


def describe_environment():
    import diffusers
    import torch

    return {
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "python": platform.python_version(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def measure_inside(options):
    """The part that runs inside the environment: one measurement, printed as JSON."""
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    measurements = {
        "forward": measure_diffusers_forward,
        "training": measure_diffusers_training,
        "environment": lambda _: describe_environment(),
    }
    print(json.dumps(measurements[options.measure](options)))


# ---------------------------------------------------------------------------------------------
# Both sides, one measurement a process


def run(command):
    command = [str(part) for part in command]
    done = subprocess.run(command, cwd=ROOT, env=PROCESS_ENVIRONMENT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"diffusers_bench: {' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


class Diffusers:
    def __init__(self, options, python):
        self.command = [python, __file__, "--threads", options.threads, "--model", options.model]
        self.options = options

    def measure(self, what, *flags):
        return json.loads(run([*self.command, "--measure", what, *flags]).splitlines()[-1])

    def environment(self):
        return self.measure("environment")

    def forward(self, precision):
        flags = ["--precision", precision, "--repeats", self.options.repeats, "--batches"]
        rates = self.measure("forward", *flags, *self.options.batches)
        return {int(batch): rate for batch, rate in rates.items()}

    def training(self, precision):
        flags = ["--precision", precision, "--steps", self.options.steps]
        return self.measure("training", *flags, "--train-batch", self.options.train_batch)


class Ours:
    """Runs forward_bench and trainer_bench, and reads what they print."""

    def __init__(self, options):
        self.options = options
        for name in ["forward_bench", "trainer_bench"]:
            if not (options.ours / name).is_file():
                sys.exit(
                    f"diffusers_bench: {options.ours} has no {name}. Build it first: "
                    f"cmake --build --preset release --target forward_bench trainer_bench"
                )

    def forward(self, precision):
        output = run(
            [
                *[self.options.ours / "forward_bench", self.options.threads],
                *[self.options.model, precision, self.options.repeats],
            ]
        )
        if f"{precision}, milliseconds" not in output:
            sys.exit(f"diffusers_bench: forward_bench did not measure {precision}:\n{output}")
        # The kernels that a server is meant to run: batch-invariant ones in float32. In bfloat16
        # invariance means one row at a time, so docs/performance.md says to switch it off.
        column = 1 if precision == "float32" else 2
        rates = {}
        for line in output.splitlines():
            if re.match(r"\s*\d+\s+[\d.]+\s+[\d.]+", line):
                cells = line.split()
                rates[int(cells[0])] = int(cells[0]) / float(cells[column]) * 1000
        return rates

    def training(self, precision):
        config = json.loads((self.options.model / "unet" / "config.json").read_text())
        output = run(
            [
                *[self.options.ours / "trainer_bench", "--threads", self.options.threads],
                *["--size", config["sample_size"], "--head-dim", config["attention_head_dim"]],
                *["--channels", *config["block_out_channels"]],
                *["--batch", self.options.train_batch, "--steps", self.options.steps],
                *["--precision", precision, "--markdown"],
            ]
        )
        for line in output.splitlines():
            cells = [cell.strip() for cell in line.split("|")]
            if len(cells) > 4 and cells[1].startswith(f"{precision}, one network call"):
                return float(cells[3])
        sys.exit(f"diffusers_bench: trainer_bench did not measure {precision}:\n{output}")


def measure_rounds(options, diffusers, ours):
    """Returns {(what, precision, batch): {"diffusers": [...], "ours": [...]}}, a value a round."""
    sides = {"diffusers": diffusers}
    if ours:
        sides["ours"] = ours
    results = {}
    for number in range(options.rounds):
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        for what in ["forward", "training"]:
            for precision in PRECISIONS:
                for side in order:
                    say(f"round {number + 1} of {options.rounds}: {what}, {precision}, {side}")
                    rates = getattr(sides[side], what)(precision)
                    if what == "training":
                        rates = {options.train_batch: rates}
                    for batch, rate in rates.items():
                        key = (what, precision, batch)
                        results.setdefault(key, {}).setdefault(side, []).append(rate)
    # forward_bench measures every batch size, also those that --batches leaves out.
    return {key: rates for key, rates in results.items() if "diffusers" in rates}


# ---------------------------------------------------------------------------------------------
# The report


def report_rows(results):
    rows = []
    for (what, precision, batch), rates in results.items():
        row = {"what": what, "precision": precision, "batch": batch, "rounds": rates}
        row["median"] = {side: statistics.median(values) for side, values in rates.items()}
        if "ours" in rates:
            pairs = zip(rates["ours"], rates["diffusers"], strict=True)
            row["ratios"] = [ours / diffusers for ours, diffusers in pairs]
            row["median_ratio"] = statistics.median(row["ratios"])
        rows.append(row)
    return rows


def print_rates(title, unit, rows):
    header = ["precision", "batch", f"diffusers {unit}"]
    if "median_ratio" in rows[0]:
        header += [f"denoised {unit}", "ratio", "lowest", "highest"]
    table = [header]
    for row in rows:
        cells = [row["precision"], str(row["batch"]), f"{row['median']['diffusers']:.1f}"]
        if "median_ratio" in row:
            cells.append(f"{row['median']['ours']:.1f}")
            ratios = [row["median_ratio"], min(row["ratios"]), max(row["ratios"])]
            cells += [f"{ratio:.2f}" for ratio in ratios]
        table.append(cells)
    print_table(title, table)


def parse_options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--ours", type=pathlib.Path, metavar="DIR", help="folder of forward_bench and trainer_bench"
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of the network (2)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of every measurement (5)")
    parser.add_argument("--repeats", type=int, default=15, help="forward passes of each size (15)")
    parser.add_argument("--steps", type=int, default=15, help="training steps (15)")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, choices=BATCHES)
    parser.add_argument("--train-batch", type=int, default=32, help="images a training step (32)")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "deploy/models/emoji-32")
    parser.add_argument("--cache", type=pathlib.Path, default=default_cache())
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="writes every value here")
    parser.add_argument("--quick", action="store_true", help="one short round")
    # Used by this script to run itself inside the environment.
    inside = ["forward", "training", "environment"]
    parser.add_argument("--measure", choices=inside, help=argparse.SUPPRESS)
    parser.add_argument("--precision", choices=PRECISIONS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.repeats, options.steps = 1, 2, 1
        options.batches, options.train_batch = [1, 2], 4
    options.model = options.model.resolve()
    options.ours = options.ours and options.ours.resolve()
    return options


def main():
    options = parse_options()
    if options.measure:
        measure_inside(options)
        return
    ours = Ours(options) if options.ours else None  # fails before anything is installed
    diffusers = Diffusers(options, create_environment(options.cache.resolve()))
    environment = {"threads": options.threads, "rounds": options.rounds, **diffusers.environment()}
    rows = report_rows(measure_rounds(options, diffusers, ours))
    print(
        "diffusers {diffusers}, torch {torch}, {cpu_capability}, {threads} threads; "
        "medians of {rounds} rounds".format(**environment)
    )
    select = lambda what: [row for row in rows if row["what"] == what]
    print_rates("Forward passes of the starter model's UNet", "rows/s", select("forward"))
    print_rates("Training of a UNet of the same shape", "images/s", select("training"))
    if options.json:
        report = {"environment": environment, "rows": rows}
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
