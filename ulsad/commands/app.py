"""Start ULSAD Explorer, the app, and open http://127.0.0.1:7860."""

from __future__ import annotations

import argparse
import ipaddress
import os
import signal
import socket
import sys
from pathlib import Path

EXAMPLE = "--models-dir models --port 7860"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--models-dir", type=Path, default=Path("models"), help="where runs and models live")
    parser.add_argument("--data-root", type=Path, help="allow training on folders below this one")
    parser.add_argument("--root-path", metavar="/PATH",
                        help="where a proxy shows the app, if that is not the root of its address")
    parser.add_argument("--auth", type=_user_and_password, metavar="USER:PASSWORD")
    parser.add_argument("--inbrowser", action="store_true", help="open a browser window")


def run(options: argparse.Namespace) -> None:
    """Until Ctrl-C. Raises `OSError` when it can't start."""
    _prepare(options)
    _serve(options)


def _prepare(options: argparse.Namespace) -> None:
    """Say early what is wrong. Raises `OSError` for what must not be."""
    if not _is_loopback(options.host) and not options.auth:
        print(f"WARNING: everybody who can reach {options.host}:{options.port} can use this app, upload "
              "files and start trainings. Add --auth USER:PASSWORD.", file=sys.stderr)
    if options.data_root and not options.data_root.is_dir():
        raise OSError(f"there is no folder {options.data_root} for --data-root")
    options.models_dir.mkdir(parents=True, exist_ok=True)
    if not os.access(options.models_dir, os.W_OK):
        print(f"WARNING: {options.models_dir} can't be written to. Models in it can be used, but none can be "
              "trained and nothing kept. Choose another --models-dir for that.", file=sys.stderr)
    try:
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        socket.create_server((options.host, options.port), family=family).close()
    except OSError as error:
        raise OSError(f"{options.host}:{options.port} can't be listened on ({error.strerror}). Does the app "
                      f"run already? Else choose another --port, {options.port + 1} for one.") from error


def _serve(options: argparse.Namespace) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C: visitors' photos are removed
    print("ULSAD Explorer is starting; loading torch and gradio takes some seconds.", flush=True)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported
    from ulsad.ui import page, places

    # Without run_history=False the browser would keep every redraw, and each would take longer than the last.
    page.build(options.models_dir.resolve(), options.data_root).launch(
        server_name=options.host, server_port=options.port, inbrowser=options.inbrowser,
        root_path=options.root_path, auth=tuple(options.auth.split(":", 1)) if options.auth else None,
        max_file_size="2gb", allowed_paths=[str(places.shown())], theme=page.THEME, css=page.CSS,
        show_error=True, footer_links=[], run_history=False)


def _user_and_password(text: str) -> str:
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise argparse.ArgumentTypeError("write USER:PASSWORD")
    return text


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

