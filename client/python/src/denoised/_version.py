"""The version of this client, which is that of the server that it came with."""

from importlib.metadata import version

__version__ = version("denoised-client")
