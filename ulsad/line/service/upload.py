"""Receive a photo into a file: within a size, within a time, as the whole body or as a file of a form."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

LINGER = 5.0  # seconds in which the rest of a refused body is read, at most


async def receive(request: Request, file: Path, most: int, seconds: float) -> str:
    """Write the photo of a request to a file; the name that it came with, or "".

    Raises `HTTPException` with status 400, 408 or 413 if there is none, or it takes too long, or has more
    than `most` bytes.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise _too_large(most)
    try:
        async with asyncio.timeout(seconds):
            body = _limited(request, most)
            if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
                return await _form(request, body, file)
            with open(file, "wb") as opened:
                async for piece in body:
                    opened.write(piece)
    except TimeoutError as error:
        raise HTTPException(408, f"The photo did not arrive within {seconds:.0f} s.") from error
    if not file.stat().st_size:
        raise HTTPException(400, "There is no photo in the body. Post the file's bytes, or a form with a "
                                 "file.")
    return ""


async def _limited(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    received = 0
    async for piece in request.stream():
        received += len(piece)
        if received > most:
            raise _too_large(most)
        yield piece


async def _form(request: Request, body: AsyncGenerator[bytes, None], file: Path) -> str:
    try:
        form = await MultiPartParser(request.headers, body, max_files=1, max_fields=10).parse()
    except (MultiPartException, LookupError, ValueError) as error:  # no boundary, unknown charset, …
        raise HTTPException(400, f"The form can't be read ({error}). It needs one file.") from error
    try:
        photo = next((value for value in form.values() if isinstance(value, UploadFile)), None)
        if photo is None or not photo.size:
            raise HTTPException(400, "There is no whole file in the form. With curl: -F photo=@FILE.")
        with open(file, "wb") as opened:
            await asyncio.to_thread(shutil.copyfileobj, photo.file, opened)
        return photo.filename or ""
    finally:
        await form.close()


async def discard(request: Request) -> None:
    """Read the rest of a refused body for a while: most clients send it all before they look for an answer,
    and a connection that is closed on them looks to them like a fault of the network."""
    if "expect" in request.headers:  # this one waits for leave to send
        return
    with suppress(ClientDisconnect, TimeoutError, RuntimeError):  # RuntimeError: there is no rest
        async with asyncio.timeout(LINGER):
            async for _ in request.stream():
                pass


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"The photo is larger than {most // 2**20} MB, the limit of this service.")
