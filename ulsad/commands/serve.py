"""Give verdicts over HTTP: other programs post photos to it. It has no page."""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np

from ulsad.commands.listening import is_loopback, listening, port_number
from ulsad.commands.options import add_criterion, add_days, add_machine, count, tell
from ulsad.errors import InputError
from ulsad.line.current import CurrentJudge
from ulsad.line.job import note_job
from ulsad.line.judge import Judge
from ulsad.line.service.judging import Judging

EXAMPLE = "part.safetensors --port 8000 --log verdicts"
TOKEN = "ULSAD_TOKEN"  # the environment variable
ENDING = 8  # seconds for the photos at hand; a container is often killed after ten


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="one model, or several")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=port_number, default=8000)
    parser.add_argument("--token-file", type=Path, metavar="FILE",
                        help=f"holds the token that requests must carry (or the variable {TOKEN})")
    parser.add_argument("--log", type=Path, metavar="DIR",
                        help="write every verdict into DIR/MODEL/DAY/verdicts.csv")
    parser.add_argument("--max-mb", type=count, default=100, metavar="N", help="largest photo, in MB (100)")
    parser.add_argument("--at-once", type=count, default=64, metavar="N",
                        help="photos that are received and judged at a time; more are refused (64)")
    add_days(parser)
    add_criterion(parser)
    add_machine(parser)


def run(options: argparse.Namespace) -> None:
    """Until Ctrl-C. Raises `InputError` for models that can't be used, and `OSError`."""
    import uvicorn

    from ulsad.line.service.routes import Service

    token = _token(options.token_file)
    if not is_loopback(options.host) and token is None:
        tell(f"WARNING: anyone who can reach {options.host}:{options.port} can have photos judged. Add "
             "--token-file FILE.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as for Ctrl-C: photos at hand are finished
    _allow_many_connections()
    with (listening(options.host, options.port) as socket,
          tempfile.TemporaryDirectory(prefix="ulsad-serve-") as folder, _judgings(options) as models):
        service = Service(models, Path(folder), token, options.max_mb * 2**20, options.at_once)
        host, port = socket.getsockname()[:2]
        tell(f"Serving {', '.join(models)} at http://{f'[{host}]' if ':' in host else host}:{port}/, which "
             "says how to use it. Ctrl-C ends it.")
        server = uvicorn.Server(uvicorn.Config(service.app(), log_level="warning", access_log=False,
                                               timeout_graceful_shutdown=ENDING))
        with suppress(KeyboardInterrupt):
            server.run([socket])
    tell("Stopped, after the photos that had arrived.")


@contextmanager
def _judgings(options: argparse.Namespace) -> Iterator[dict[str, Judging]]:
    """The models by the names of their files, loaded and ready."""
    found: dict[str, Judging] = {}
    try:
        for model in options.models:
            if model.stem in found:
                raise InputError(f"Two models are called {model.stem}. Rename one of the files.")
            log = options.log and options.log / model.stem
            if log:
                _begin(log, model)
            current = CurrentJudge(model, partial(_ready, model, options), options.days)
            found[model.stem] = Judging(current, log, tell)
        yield found
    finally:
        for judging in found.values():
            judging.close()


def _begin(log: Path, model: Path) -> None:
    """Raises `InputError` where nothing can be logged."""
    try:
        log.mkdir(parents=True, exist_ok=True)
        note_job(log, model)
    except OSError as error:
        raise InputError(f"The folder {log} can't be written ({error}). Choose another --log.") from error


def _ready(model: Path, options: argparse.Namespace) -> Judge:
    """A judge that has judged once, as the first time takes longer."""
    judge = Judge.load(model, options.criterion, alpha=options.alpha, beta=options.beta,
                       weights=options.weights, device=options.device)
    judge.verdict(np.zeros((64, 64, 3), np.uint8))
    return judge


def _token(file: Path | None) -> str | None:
    """Raises `InputError` for a file that can't be read or is empty: that would let everybody in."""
    try:
        token = file.read_text(encoding="utf-8-sig").strip() if file else os.environ.get(TOKEN)
    except (OSError, ValueError) as error:
        raise InputError(f"The token can't be read from {file} ({error}).") from error
    if token is not None and not token:
        raise InputError(f"{file or TOKEN} holds no token. Write a long random text into it.")
    return token


def _allow_many_connections() -> None:
    """Up to what the system allows: by default it is 1,024 files and connections together."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
