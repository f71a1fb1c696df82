"""The address of a server, as gRPC names targets (gRPC's doc/naming.md)."""

from __future__ import annotations

import ipaddress
import os
import socket
import urllib.request

#: The schemes with which gRPC takes a list.
_NUMERIC = ("ipv4:", "ipv6:")
_SCHEMES = ("dns:", *_NUMERIC)


def is_loopback(address: str) -> bool:
    """Whether a server is on this machine: 127.0.0.0/8, ::1, localhost, or a socket's path.

    A name such as "127.example.org" may be that of any machine.
    """
    return _is_path(address) or all(_is_loopback_host(host) for host, _ in endpoints(address))


def endpoints(address: str) -> list[tuple[str, str]]:
    """Hosts with their ports, which may be empty. Several only with ipv4: and ipv6:."""
    if _is_path(address):
        return []
    rest = _without_scheme(address)
    is_list = address.startswith(_NUMERIC)
    return [_host_and_port(each) for each in (rest.split(",") if is_list else [rest])]


def each_server(address: str) -> list[tuple[str, str | None]]:
    """The servers behind a name: addresses, each with the authority that its calls must keep.

    Empty if there is only one, or if calls go through a proxy, which resolves names by itself. Asks
    the DNS.
    """
    if address.startswith(_NUMERIC):
        found: dict[str, str | None] = {
            _numeric(host, port): None for host, port in endpoints(address)
        }
    else:
        found = {
            numeric: f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            for host, port in endpoints(address)
            if port and not _is_proxied(host)
            for numeric in _resolved(host, port)
        }
    return list(found.items()) if len(found) > 1 else []


def _resolved(host: str, port: str) -> list[str]:
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except OSError:
        return []
    return [_numeric(str(info[4][0]), port) for info in infos]


def _numeric(host: str, port: str) -> str:
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"


def _is_proxied(host: str) -> bool:
    names = ("grpc_proxy", "https_proxy", "http_proxy")  # as gRPC looks for them
    is_named = any(os.environ.get(name) for name in names)
    return is_named and not urllib.request.proxy_bypass(host)


def _is_path(address: str) -> bool:
    return address.startswith(("unix:", "unix-abstract:"))


def _without_scheme(address: str) -> str:
    """What is left is "localhost:1" for "dns://8.8.8.8:53/localhost:1"."""
    for scheme in _SCHEMES:
        if address.startswith(scheme):
            rest = address.removeprefix(scheme)
            return rest[2:].partition("/")[2] if rest.startswith("//") else rest
    return address


def _host_and_port(text: str) -> tuple[str, str]:
    """A colon within a host needs brackets, so "::1" has no port."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return (host, rest.removeprefix(":")) if rest[:1] in ("", ":") else (text, "")
    if text.count(":") != 1:
        return text, ""
    host, _, port = text.partition(":")
    return host, port


def _is_loopback_host(host: str) -> bool:
    if host.lower() == "localhost" or host == "::1":
        return True
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False
