"""Start ULSAD Explorer, the app, and open http://127.0.0.1:7860."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from ulsad.commands.listening import is_loopback, listening, port_number

EXAMPLE = "--models-dir models --port 7860"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=port_number, default=7860)
    parser.add_argument("--models-dir", type=Path, default=Path("models"), help="folder for runs and models")
    parser.add_argument("--data-root", type=Path, help="let visitors open folders below this one")
    parser.add_argument("--root-path", metavar="/PATH",
                        help="the app's path behind a proxy, if it is not the root")
    parser.add_argument("--auth", type=_user_and_password, metavar="USER:PASSWORD")
    parser.add_argument("--inbrowser", action="store_true", help="open a browser window")


def run(options: argparse.Namespace) -> None:
    """Serve the app until Ctrl-C. Raises `OSError` when it can't start."""
    _prepare(options)
    _serve(options)


def _prepare(options: argparse.Namespace) -> None:
    """Check the options before the slow start: print warnings, raise `OSError` for errors."""
    if not is_loopback(options.host) and not options.auth:
        print(f"WARNING: anyone who can reach {options.host}:{options.port} can use this app, upload files "
              "and start trainings. Add --auth USER:PASSWORD.", file=sys.stderr)
    if options.data_root and not options.data_root.is_dir():
        raise OSError(f"there is no folder {options.data_root} for --data-root")
    options.models_dir.mkdir(parents=True, exist_ok=True)
    if not os.access(options.models_dir, os.W_OK):
        print(f"WARNING: {options.models_dir} is write-protected. You can use its models, but not train or "
              "save anything. To do so, choose another --models-dir.", file=sys.stderr)
    listening(options.host, options.port).close()


def _serve(options: argparse.Namespace) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as for Ctrl-C: visitors' photos are removed
    print("ULSAD Explorer is starting; loading torch and gradio takes a few seconds.", flush=True)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported
    # Otherwise gradio sums up all earlier events after each one, so a long session gets slower and slower.
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000")
    from ulsad.ui import page, places

    # run_history=False: otherwise the browser keeps every redraw and gets slower each time.
    page.build(options.models_dir.resolve(), options.data_root).launch(
        server_name=options.host, server_port=options.port, inbrowser=options.inbrowser,
        root_path=options.root_path, auth=tuple(options.auth.split(":", 1)) if options.auth else None,
        max_file_size="2gb", allowed_paths=places.allowed(), theme=page.THEME, css=page.CSS, head=page.HEAD,
        favicon_path=page.FAVICON, show_error=True, footer_links=[], run_history=False)


def _user_and_password(text: str) -> str:
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise argparse.ArgumentTypeError("write USER:PASSWORD")
    return text
