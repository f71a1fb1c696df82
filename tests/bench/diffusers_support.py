"""What the benchmarks that compare denoised with Python's diffusers share.

The virtual environment of diffusers is created by the first benchmark, in
${XDG_CACHE_HOME:-~/.cache}/denoised (4 GB); later ones reuse it.
"""

import fcntl
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys

# What is installed, one list for each call of pip. Add new lists at the end: an environment that
# has the first ones gets only the rest.
REQUIREMENTS = [
    # diffusers, and what torch imports.
    [
        "diffusers==0.42.*",
        "safetensors",
        "numpy",
        "filelock",
        "typing_extensions>=4.10",
        "setuptools<82",
        "sympy>=1.13.3",
        "networkx>=2.5.1",
        "jinja2",
        "fsspec>=0.8.5",
    ],
    # The libraries that torch's Python module is linked to: `import torch` fails without them.
    [
        "cuda-toolkit[cublas,cudart,cufft,cufile,cupti,curand,cusparse,nvjitlink]==13.0.2",
        "nvidia-cudnn-cu13==9.19.0.56",
        "nvidia-cusparselt-cu13==0.8.0",
        "nvidia-nccl-cu13==2.28.9",
        "nvidia-nvshmem-cu13==3.4.5",
    ],
    # Without its dependencies, or pip adds what the CPU never needs (Triton, cuSOLVER, NVRTC).
    ["--no-deps", "torch==2.11.0"],
    # The text encoders and tokenizers of latent models.
    ["transformers==5.*", "psutil", "pyyaml"],
    # With it, diffusers loads weights without a second copy of them. It depends on torch.
    ["--no-deps", "accelerate"],
]

# What `denoised` sets for itself, for both sides: threads wait for work without spinning for long.
PROCESS_ENVIRONMENT = {
    **os.environ,
    "OMP_WAIT_POLICY": "passive",
    "GOMP_SPINCOUNT": "10000",
    "HF_HUB_OFFLINE": "1",
}


def say(text):
    print(text, file=sys.stderr, flush=True)


def default_cache():
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(cache) / "denoised"


def create_environment(cache):
    """Returns the environment's Python; installs what is missing. Safe to interrupt and repeat."""
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / "diffusers-0.42-torch-2.11.0"
    complete = folder / "complete.json"
    with open(cache / f"{folder.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be installing
        done = installed_lists(complete)
        if done == 0:
            create(folder)
        for number in range(done, len(REQUIREMENTS)):
            install(folder, number)
            complete.write_text(json.dumps([platform.python_version(), REQUIREMENTS[: number + 1]]))
    return folder / "bin" / "python"


def installed_lists(complete):
    """How many of the first REQUIREMENTS the environment has; 0 if it must be made anew."""
    if not complete.exists():
        return 0
    version, lists = json.loads(complete.read_text())
    same = version == platform.python_version() and lists == REQUIREMENTS[: len(lists)]
    return len(lists) if same else 0


def create(folder):
    say(f"Creating a virtual environment in {folder} (2.6 GB to download, 4 GB on disk)")
    shutil.rmtree(folder, ignore_errors=True)
    created = subprocess.run([sys.executable, "-m", "venv", folder], stdout=sys.stderr)
    if created.returncode != 0:
        sys.exit("python3 -m venv failed. On Debian, install python3-venv.")


def install(folder, number):
    packages = REQUIREMENTS[number]
    say(f"[{number + 1}/{len(REQUIREMENTS)}] Installing {' '.join(packages)}")
    command = [folder / "bin" / "python", "-m", "pip", "install", "--only-binary=:all:"]
    if subprocess.run([*command, *packages], stdout=sys.stderr).returncode != 0:
        sys.exit(
            "pip failed; its output is above. Check the network and the free space in "
            f"{folder.parent}, then run this again."
        )


def print_table(title, table):
    """Prints lists of cells as Markdown. The first is the heading; the first column is text."""
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    print(f"\n{title}\n")
    for number, line in enumerate(table):
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
        print(f"| {' | '.join(cells)} |")
        if number == 0:
            rules = ["-" * (widths[0] + 2), *["-" * (width + 1) + ":" for width in widths[1:]]]
            print(f"|{'|'.join(rules)}|")
