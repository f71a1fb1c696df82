"""How scripts/check-container runs commands and reports."""

import subprocess


class CheckFailed(Exception):
    """The image or the server in it is not as it should be."""


def require(condition, message):
    if not condition:
        raise CheckFailed(message)


def heading(text):
    print(f"\n== {text}", flush=True)


def passed(text):
    print(f"   ok: {text}", flush=True)


def output_of(*command, **options):
    """What a command prints. The command must succeed."""
    command = [str(word) for word in command]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, **options)
    require(done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}")
    return done.stdout


def must_fail(what, check, *arguments):
    """A check that cannot fail shows nothing: this one has to notice what was broken on purpose."""
    try:
        check(*arguments)
    except CheckFailed as failure:
        passed(f"noticed {what}: {first_line(failure)}")
        return
    raise CheckFailed(f"{check.__name__} did not notice {what}")


def first_line(failure):
    text = str(failure).splitlines()[0]
    return text if len(text) <= 140 else f"{text[:137]}..."
