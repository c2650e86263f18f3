"""The service's addresses: post a photo, get its verdict; what is served, whether it is well, its counts."""

from __future__ import annotations

import asyncio
import secrets
import time
import unicodedata
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import ulsad
from ulsad.line.answer import Maps, answer
from ulsad.line.service.judging import Judged, Judging
from ulsad.line.service.metrics import CONTENT_TYPE, Metrics
from ulsad.line.service.upload import discard, receive
from ulsad.line.verdict import UNREADABLE, Basis

UPLOAD = 60.0  # seconds that a photo may take to arrive
LONGEST = 200  # characters of a photo's name
UNNAMED = "photo"
_SPOILING = ("Cc", "Cs", "Zl", "Zp")  # control characters, halves of pairs, line and paragraph separators
_TURNING = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # the direction of writing
SOON = "1"  # seconds after which a refused client may try again

HELP = """ULSAD service, version {version}. Models: {models}.

POST /score            a photo as the body, or as the file of a form; answers with its verdict as JSON
  ?name=NAME           what the photo is called in the verdict and in the log
  ?model=NAME          which model; needed if there are several
  ?maps=picture|values the maps, too: a PNG beside the photo, or numbers as .npz; both in base64
GET  /models           the models, and what their verdicts are based on
GET  /health           whether the service is well; needs no token
GET  /metrics          counts for Prometheus
GET  /openapi.json     this, for programs

curl --data-binary @photo.jpg '{address}score?name=photo.jpg'
{token}"""
TOKEN_HELP = "\nThis service wants its token: -H 'Authorization: Bearer TOKEN'\n"

_BODY = {"requestBody": {"required": True, "content": {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    "multipart/form-data": {"schema": {"type": "object", "properties": {
        "photo": {"type": "string", "format": "binary"}}}}}}}


@dataclass
class Service:
    """Models by their names, and the limits under which they are served. See `app`."""

    models: Mapping[str, Judging]
    folder: Path  # for photos until they are judged
    token: str | None = None
    most_bytes: int = 100 * 2**20  # of a photo
    at_once: int = 64  # photos that are received and judged at a time; more are refused
    metrics: Metrics = field(default_factory=Metrics)
    _at_hand: int = 0

    def app(self) -> ASGIApp:
        """The application. Every error is answered with JSON: {"error": what is wrong and what to do}."""
        app = FastAPI(title="ULSAD service", version=ulsad.__version__, docs_url=None, redoc_url=None)
        wants_token = [Depends(self._require_token)]
        app.post("/score", dependencies=wants_token, openapi_extra=_BODY)(self.score)
        app.get("/models", dependencies=wants_token)(self.list_models)
        app.get("/metrics", dependencies=wants_token)(self.show_metrics)
        app.get("/health")(self.health)
        app.get("/", include_in_schema=False)(self.help)
        app.add_exception_handler(HTTPException, _refuse)
        app.add_exception_handler(RequestValidationError, _refuse_query)
        app.add_exception_handler(Exception, _regret)
        return _Counting(app, self.metrics)

    async def score(
        self, request: Request, model: str = "", name: str = "", maps: Maps = ""
    ) -> Response:
        """The verdict on the photo in the body, with what it is based on.

        A file that is no readable photo is answered with status 422, the verdict 'unreadable' and the reason.
        """
        model = self._chosen(model)
        if self._at_hand >= self.at_once:
            raise HTTPException(503, f"{self.at_once} photos are being judged. Try again in a second.",
                                {"Retry-After": SOON})
        began, file = time.perf_counter(), self.folder / uuid4().hex
        waiting: Future[Judged] | None = None
        self._at_hand += 1
        try:
            given = await receive(request, file, self.most_bytes, UPLOAD)
            waiting = self.models[model].submit(file, _shown(name or given or UNNAMED))
            judged = await asyncio.wrap_future(waiting)
            content = await asyncio.to_thread(answer, *judged, maps)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except OSError as error:
            raise HTTPException(503, f"The service's disk can't be written ({error.strerror}). Tell its "
                                "operator; the photo has no verdict.", {"Retry-After": SOON}) from error
        finally:
            self._at_hand -= 1
            if waiting is None or waiting.done():
                file.unlink(missing_ok=True)
            else:  # the service ends in the middle of it
                waiting.add_done_callback(lambda _: file.unlink(missing_ok=True))
        self.metrics.took(time.perf_counter() - began)
        self.metrics.verdicts[model, judged.verdict.verdict] += 1
        return JSONResponse(content, 422 if judged.verdict.verdict == UNREADABLE else 200)

    async def list_models(self) -> list[dict[str, Any]]:
        """Every model by its name, and what its verdicts are based on: file, thresholds and versions."""
        return [{"name": name, "judged_by": basis.to_dict()} for name, basis in self._bases().items()]

    async def health(self) -> dict[str, Any]:
        """Answers as long as photos are judged; with the number of photos at hand."""
        if not all(judging.is_alive for judging in self.models.values()):
            raise HTTPException(503, "Photos are no longer judged. Start the service again.")
        return {"status": "ok", "at_hand": self._at_hand}

    async def show_metrics(self) -> Response:
        """Counts in the text format of Prometheus."""
        hashes = {name: basis.model_sha256 for name, basis in self._bases().items()}
        return Response(self.metrics.text(self._at_hand, hashes), media_type=CONTENT_TYPE)

    async def help(self, request: Request) -> Response:
        """How to use this service."""
        return PlainTextResponse(HELP.format(
            version=ulsad.__version__, address=request.base_url,
            models="see /models" if self.token else ", ".join(self.models),
            token=TOKEN_HELP if self.token else ""))

    async def _require_token(self, request: Request) -> None:
        given = request.headers.get("authorization", "").encode("latin-1")  # as it was sent
        if self.token is not None and not secrets.compare_digest(given, f"Bearer {self.token}".encode()):
            raise HTTPException(401, "This service wants its token: send 'Authorization: Bearer TOKEN'.",
                                {"WWW-Authenticate": "Bearer"})

    def _bases(self) -> dict[str, Basis]:
        return {name: judging.current.judge.basis for name, judging in self.models.items()}

    def _chosen(self, model: str) -> str:
        if not model and len(self.models) == 1:
            return next(iter(self.models))
        if model not in self.models:
            known = ", ".join(self.models)
            raise HTTPException(404, f"There is no model '{model}'. Choose one with ?model=NAME: {known}.")
        return model


def _shown(name: str) -> str:
    """A name from elsewhere that spoils neither a table nor a terminal."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(char) in _SPOILING or char in _TURNING
                   else char for char in name[:LONGEST])


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    await discard(request)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _regret(request: Request, error: Exception) -> Response:
    """The traceback goes to the operator."""
    return JSONResponse({"error": "The service has failed at this. Its operator sees why."}, 500)


async def _refuse_query(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    await discard(request)
    wrong = "; ".join(f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors())
    return JSONResponse({"error": wrong}, 400)


class _Counting:
    """Counts the answers by their status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.metrics.answers[message["status"]] += 1
            await send(message)

        await self.app(scope, receive, counted)
