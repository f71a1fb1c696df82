"""Names of resources: "models/emoji-32" for "emoji-32" and for itself."""


def model_name(name: str) -> str:
    """Names a model."""
    return _with_prefix("models/", name)


def generation_name(name: str) -> str:
    """Names a generation."""
    return _with_prefix("generations/", name)


def dataset_name(name: str) -> str:
    """Names a data set."""
    return _with_prefix("datasets/", name)


def job_name(name: str) -> str:
    """Names a training job."""
    return _with_prefix("trainingJobs/", name)


def adapter_name(name: str) -> str:
    """Names an adapter: "models/sd15/adapters/line-art" for "sd15/line-art", too."""
    model, slash, adapter = name.partition("/")
    if not slash or model == "adapters":
        return _with_prefix("adapters/", name)
    if model == "models":
        return name
    return f"{model_name(model)}/{_with_prefix('adapters/', adapter)}"


def _with_prefix(prefix: str, name: str) -> str:
    return name if name.startswith(prefix) else prefix + name
