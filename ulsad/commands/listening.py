"""Addresses that a command listens on."""

from __future__ import annotations

import argparse
import errno
import ipaddress
import socket


def port_number(text: str) -> int:
    """The value of an option --port; 0: any free one."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("write a number from 0 to 65535")
    return int(text)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening(host: str, port: int) -> socket.socket:
    """Raises `OSError` that says what to do if the address can't be listened on."""
    try:
        opened = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        remedy = (f"Is it already running? If not, choose another --port, such as {port + 1}."
                  if error.errno == errno.EADDRINUSE else "Choose another --host or --port.")
        raise OSError(f"can't listen on {host}:{port} ({error.strerror}). {remedy}") from error
    # Connections inherit it. Without it, the end of an answer waits 40 ms for the receipt of its beginning.
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened
