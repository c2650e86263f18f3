"""The service: a photo posted to it gets the verdict of the model, whatever else is sent to it."""

from __future__ import annotations

import asyncio
import base64
import csv
import http.client
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import DEMO_MODEL, DEMO_PHOTOS
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from ulsad.__main__ import main
from ulsad.commands.options import tell
from ulsad.commands.serve import _token
from ulsad.detector import spreadsheet
from ulsad.detector.criterion import Criterion
from ulsad.detector.detector import Ulsad
from ulsad.line import Judge, audit
from ulsad.line.current import CurrentJudge
from ulsad.line.day_table import add_rows
from ulsad.line.service.judging import Judging
from ulsad.line.service.metrics import Metrics
from ulsad.line.service.routes import Service
from ulsad.line.verdict import COLUMNS
from ulsad.speed.service import served

TOKEN = "long and random"
CURL = shutil.which("curl")
FORM = b'--B\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\nx\r\n--B--\r\n'
FORM_TYPE = "Multipart/Form-Data; boundary=B; charset=undefined"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge.load(DEMO_MODEL)


@pytest.fixture(scope="module")
def temporary(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("log")


@pytest.fixture(scope="module")
def address(temporary, log) -> Iterator[str]:
    """Of a service with small limits; its files are gone when it has ended."""
    with served(DEMO_MODEL, "--log", log, "--max-mb", "2", "--at-once", "24", TMPDIR=str(temporary)) as found:
        yield f"http://{found}"
    assert not list(temporary.iterdir())


def post(address: str, photo: Path, **query: str) -> httpx.Response:
    return httpx.post(f"{address}/score", params=query, content=photo.read_bytes(), timeout=60)


@pytest.mark.parametrize("photo", DEMO_PHOTOS, ids=lambda photo: photo.stem)
def test_a_photo_gets_the_verdict_of_the_model(address, judge, photo):
    answer = post(address, photo, name=photo.name)
    wanted = judge.verdict(photo).to_dict()
    found = answer.json()
    assert answer.status_code == 200
    assert found.pop("judged_by") == judge.basis.to_dict()
    for score in ("score", "local_score", "global_score"):
        assert found.pop(score) == pytest.approx(wanted.pop(score), rel=1e-5)
    assert found.pop("name") == wanted.pop("path") == photo.name
    assert found | {"time": ""} == wanted | {"time": ""}


@pytest.mark.skipif(CURL is None, reason="needs curl")
@pytest.mark.parametrize("how", ["--data-binary @{}", "-F photo=@{}", "-F note=x -F f=@{}"])
def test_curl_is_all_it_takes(address, judge, how):
    photo = DEMO_PHOTOS[1]
    how = [part.format(photo) for part in how.split()]
    done = subprocess.run([CURL, "-s", *how, f"{address}/score"], capture_output=True, check=True)
    found = json.loads(done.stdout)
    assert found["verdict"] == judge.verdict(photo).verdict
    assert found["name"] == (photo.name if "-F" in how else "photo")


def test_maps_come_as_a_picture_or_as_numbers(address, judge):
    photo = DEMO_PHOTOS[4]
    picture = base64.b64decode(post(address, photo, maps="picture").json()["maps"])
    assert Image.open(io.BytesIO(picture)).width > 4 * 250
    numbers = np.load(io.BytesIO(base64.b64decode(post(address, photo, maps="values").json()["maps"])))
    wanted = judge.detector.predict(photo).maps()
    for name, map_ in (("local", wanted.local), ("global", wanted.global_), ("combined", wanted.combined)):
        np.testing.assert_allclose(numbers[name], map_, atol=1e-4)


def test_every_verdict_is_logged_before_it_is_given_and_can_be_verified(address, log, judge, capsys):
    answer = post(address, DEMO_PHOTOS[5], name=DEMO_PHOTOS[5].name).json()
    folder = log / "demo"
    with open(folder / answer["time"][:10] / "verdicts.csv", encoding="utf-8-sig") as opened:
        last = list(csv.DictReader(opened))[-1]
    assert last["path"] == answer["name"] and last["sha256"] == answer["sha256"]
    assert audit.bases(folder) == {judge.basis.id: judge.basis}
    main(["verify", str(folder), "--photos", str(DEMO_PHOTOS[0].parent), "--all"])
    assert " × agrees" in capsys.readouterr().out


@pytest.mark.parametrize(("content", "says"), [
    (b"no photo at all", "not a PNG, JPEG"),
    (DEMO_PHOTOS[0].read_bytes()[:3000], "damaged"),
])
def test_what_is_no_photo_is_told_so(address, content, says):
    answer = httpx.post(f"{address}/score", content=content, params={"name": "x.jpg"})
    assert answer.status_code == 422
    assert answer.json()["verdict"] == "unreadable" and says in answer.json()["error"]
    assert answer.json()["score"] is None


def test_a_photo_of_too_many_pixels_is_told_so(address, tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    answer = post(address, tmp_path / "huge.png")
    assert answer.status_code == 422 and "megapixels" in answer.json()["error"]


@pytest.mark.parametrize(("status", "method", "path", "options"), [
    (400, "POST", "/score", {}),
    (400, "POST", "/score", {"files": {"photo": ("a.jpg", b"")}}),
    (400, "POST", "/score", {"content": b"x", "headers": {"content-type": "multipart/form-data"}}),
    (400, "POST", "/score", {"files": {"photo": (None, b"a field is no file")}}),
    (400, "POST", "/score", {"files": [("a", b"1"), ("b", b"2")]}),
    (400, "POST", "/score", {"content": FORM, "headers": {"content-type": FORM_TYPE}}),
    (400, "POST", "/score?maps=beautiful", {"content": b"x"}),
    (404, "POST", "/score?model=other", {"content": b"x"}),
    (404, "GET", "/nothing", {}),
    (405, "GET", "/score", {}),
    (413, "POST", "/score", {"content": bytes(3 * 2**20)}),
    (413, "POST", "/score", {"files": {"photo": ("a.jpg", bytes(3 * 2**20))}}),
    (413, "POST", "/score", {"content": (bytes(2**20) for _ in range(3))}),  # its size is not told before
])
def test_every_error_is_an_answer(address, status, method, path, options):
    answer = httpx.request(method, address + path, timeout=30, **options)
    assert answer.status_code == status
    assert len(answer.json()["error"]) > 5


@pytest.mark.skipif(CURL is None, reason="needs curl")
def test_a_body_of_a_gigabyte_is_refused_at_once(address, temporary):
    began = time.monotonic()
    with open("/dev/zero", "rb") as zeros:
        done = subprocess.run([CURL, "-s", "-w", "%{http_code}", "-T", "-", "-X", "POST", f"{address}/score"],
                              stdin=subprocess.Popen(["head", "-c", "1G"], stdin=zeros,
                                                     stdout=subprocess.PIPE).stdout,
                              capture_output=True, text=True)
    assert done.stdout.endswith("413") and time.monotonic() - began < 30
    assert sum(file.stat().st_size for file in temporary.rglob("*") if file.is_file()) < 4 * 2**20
    assert httpx.get(f"{address}/health").json()["status"] == "ok"


def test_an_upload_that_is_broken_off_leaves_nothing(address, temporary):
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nhalf")
        time.sleep(0.3)
        assert httpx.get(f"{address}/health").json()["at_hand"] == 1
    for _ in range(50):
        if httpx.get(f"{address}/health").json()["at_hand"] == 0:
            break
        time.sleep(0.1)
    assert not [file for file in temporary.rglob("*") if file.is_file()]


def test_a_name_spoils_no_table(address, log):
    answer = post(address, DEMO_PHOTOS[0], name="=1+1\n\x1b[31m" + 300 * "x")
    name = answer.json()["name"]
    assert name.startswith("=1+1\N{REPLACEMENT CHARACTER}") and len(name) == 200
    with open(log / "demo" / answer.json()["time"][:10] / "verdicts.csv", encoding="utf-8-sig") as opened:
        assert list(csv.DictReader(opened))[-1]["path"] == "'" + name


def test_names_keep_what_harms_nobody(address):
    for name in ("Screenshot 9.41\u202fAM.png", "検査\u3000一.jpg", "👩\u200d🔧.jpg"):
        assert post(address, DEMO_PHOTOS[0], name=name).json()["name"] == name
    assert "\u202e" not in post(address, DEMO_PHOTOS[0], name="\u202egpj.exe").json()["name"]


def test_strange_names_are_missing_for_verify_and_the_others_agree(tmp_path, capsys):
    names = ("/etc/passwd", "../demo/x.jpg", "verdicts.csv/x.jpg", 200 * "漢", ".", DEMO_PHOTOS[0].name)
    with judging(DEMO_MODEL, tmp_path / "log") as (service, _):
        for name in names:
            service.submit(DEMO_PHOTOS[0], name).result(30)
    table, = (tmp_path / "log").glob("*/verdicts.csv")
    with open(table, "ab") as opened:
        opened.write(b'"cut short by a power c')
    place = ["--photos", str(DEMO_PHOTOS[0].parent), "--all"]
    assert main(["verify", str(tmp_path / "log"), *place]) == 1
    assert "6 of 6 verdicts computed again: 5 × the photo is missing, 1 × agrees" in capsys.readouterr().out


def test_a_thousand_requests_at_once_are_all_answered(address):
    """Each gets its verdict, or is told to come again; whoever does gets it in the end."""
    photos = [photo.read_bytes() for photo in DEMO_PHOTOS]
    wanted = {of: httpx.post(f"{address}/score", content=of, timeout=60).json()["verdict"] for of in photos}
    host, port = address.removeprefix("http://").split(":")
    connections = [http.client.HTTPConnection(host, int(port), timeout=120) for _ in range(1000)]
    statuses: Counter[int] = Counter()

    def ask(number: int) -> None:
        photo = photos[number % len(photos)]
        while True:
            answer = connections[number].getresponse()
            said = json.loads(answer.read())
            statuses[answer.status] += 1
            if answer.status == 200:
                assert said["verdict"] == wanted[photo]
                return
            assert answer.status == 503 and answer.headers["retry-after"] == "1"
            if number >= 40:
                return
            time.sleep(1)
            connections[number].request("POST", "/score", photo)

    for number, connection in enumerate(connections):
        connection.request("POST", "/score", photos[number % len(photos)])
    with ThreadPoolExecutor(100) as clients:
        list(clients.map(ask, range(1000)))
    for connection in connections:
        connection.close()
    assert statuses[200] >= 40 and sum(statuses.values()) >= 1000
    assert httpx.get(f"{address}/health").json() == {"status": "ok", "at_hand": 0}


def test_metrics_are_as_prometheus_reads_them(address):
    post(address, DEMO_PHOTOS[0])
    answer = httpx.get(f"{address}/metrics")
    found = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    judged = sum(sample.value for sample in found["ulsad_verdicts"].samples)
    counted = {sample.name: sample.value for sample in found["ulsad_score_seconds"].samples}
    assert judged == counted["ulsad_score_seconds_count"] > 0
    assert found["ulsad_model_info"].samples[0].labels["model"] == "demo"


def test_a_histogram_counts_what_took_at_most_its_bound():
    metrics = Metrics()
    for seconds in (0.01, 0.025, 0.3, 99):
        metrics.took(seconds)
    families = text_string_to_metric_families(metrics.text(2, {'a"\\\n': "0"}))
    found = {family.name: family for family in families}
    buckets = {sample.labels["le"]: sample.value for sample in found["ulsad_score_seconds"].samples
               if "le" in sample.labels}
    assert [buckets[le] for le in ("0.025", "0.25", "0.5", "10.0", "+Inf")] == [2, 2, 3, 3, 4]
    assert found["ulsad_model_info"].samples[0].labels["model"] == 'a"\\\n'


def test_the_service_says_how_it_is_used(address):
    assert f"curl --data-binary @photo.jpg '{address}/score?name=photo.jpg'" in httpx.get(address).text
    described = httpx.get(f"{address}/openapi.json").json()
    assert set(described["paths"]) == {"/score", "/models", "/health", "/metrics"}
    assert httpx.get(f"{address}/models").json()[0]["name"] == "demo"


def test_it_loads_neither_the_app_nor_training():
    code = ("import sys; from ulsad.line.service.routes import Service;"
            "unwanted = {'gradio', 'matplotlib', 'sklearn', 'torchvision', 'ulsad.method.training'};"
            "print(sorted(unwanted & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Iterator[str]:
    """A service with a token and two models."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("left", "right"):
        shutil.copy(DEMO_MODEL, folder / f"{name}.safetensors")
    with served(*sorted(folder.iterdir()), ULSAD_TOKEN=TOKEN) as found:
        yield f"http://{found}"


@pytest.mark.parametrize("given", [None, "Bearer", "Bearer no", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "\xfc"])
@pytest.mark.parametrize(("method", "path"), [("POST", "/score"), ("GET", "/models"), ("GET", "/metrics")])
def test_nothing_without_the_token(guarded, method, path, given):
    headers = {} if given is None else {"Authorization": given.encode("latin-1")}
    answer = httpx.request(method, guarded + path, headers=headers, content=bytes(2**20))
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert "token" in answer.json()["error"]


def test_with_the_token_several_models_are_served(guarded):
    headers, content = {"Authorization": f"Bearer {TOKEN}"}, DEMO_PHOTOS[1].read_bytes()
    models = httpx.get(f"{guarded}/models", headers=headers).json()
    assert [model["name"] for model in models] == ["left", "right"]
    answer = httpx.post(f"{guarded}/score", headers=headers, content=content)
    assert answer.status_code == 404 and "left, right" in answer.json()["error"]
    answer = httpx.post(f"{guarded}/score?model=right", headers=headers, content=content)
    assert answer.json()["judged_by"]["model"] == "right.safetensors"
    assert httpx.get(f"{guarded}/health").status_code == 200


@contextmanager
def judging(model: Path, log: Path | None = None) -> Iterator[tuple[Judging, list[str]]]:
    said: list[str] = []
    found = Judging(CurrentJudge(model, lambda: Judge.load(model)), log, said.append)
    try:
        yield found, said
    finally:
        found.close()


def test_a_model_that_is_replaced_judges_from_then_on(tmp_path):
    model = tmp_path / "part.safetensors"
    shutil.copy(DEMO_MODEL, model)
    with judging(model) as (service, said):
        before = service.submit(DEMO_PHOTOS[0], "a").result(30).judge.basis
        detector = Ulsad.load(DEMO_MODEL)
        detector.with_criterion("x", Criterion.suggested(detector.calibration, 0.5, 0.9)).save(model)
        after = service.submit(DEMO_PHOTOS[0], "b").result(30).judge.basis
        assert before.model_sha256 != after.model_sha256 and "was replaced" in said[0]
        model.write_bytes(b"broken")
        assert service.submit(DEMO_PHOTOS[0], "c").result(30).judge.basis == after
        assert "can't be used" in said[1]


def test_whatever_goes_wrong_with_a_new_model_the_old_one_judges_on(tmp_path):
    model = tmp_path / "part.safetensors"
    shutil.copy(DEMO_MODEL, model)
    loads = iter([Judge.load(model)])

    def load() -> Judge:
        return next(loads)  # StopIteration stands for anything that nobody has thought of

    current = CurrentJudge(model, load)
    before = current.judge
    model.touch()
    assert "can't be used" in current.renew() and current.judge is before
    assert current.renew() == ""


def test_a_log_that_can_not_be_written_gives_no_verdict(tmp_path):
    (tmp_path / "log").mkdir()
    with judging(DEMO_MODEL, tmp_path / "log") as (service, _):
        service.submit(DEMO_PHOTOS[0], "a").result(30)
        day, = (path for path in (tmp_path / "log").iterdir() if path.is_dir())
        shutil.rmtree(day)
        day.write_text("in the way")
        with pytest.raises(OSError):
            service.submit(DEMO_PHOTOS[0], "b").result(30)
        day.unlink()
        service.submit(DEMO_PHOTOS[0], "c").result(30)
        with open(day / "verdicts.csv", encoding="utf-8-sig") as opened:
            assert [row["path"] for row in csv.DictReader(opened)] == ["c"]


def test_a_log_that_somebody_has_removed_begins_anew(tmp_path):
    with judging(DEMO_MODEL, tmp_path / "log") as (service, _):
        for _ in range(2):
            service.submit(DEMO_PHOTOS[0], "a").result(30)
            assert {path.name for path in (tmp_path / "log").iterdir()} > {"judged-by.jsonl", "job.json"}
            shutil.rmtree(tmp_path / "log")


def test_who_no_longer_waits_is_passed_over(tmp_path, monkeypatch):
    """As when the service is stopped twice."""
    going_on, judge_all = threading.Event(), Judge.verdicts

    def verdicts(self, photos):
        going_on.wait(30)
        return judge_all(self, photos)

    monkeypatch.setattr(Judge, "verdicts", verdicts)
    with judging(DEMO_MODEL, tmp_path / "log") as (service, _):
        first = service.submit(DEMO_PHOTOS[0], "a")
        while not first.running():
            time.sleep(0.01)
        gone, last = service.submit(DEMO_PHOTOS[1], "b"), service.submit(DEMO_PHOTOS[2], "c")
        assert gone.cancel() and not first.cancel()
        going_on.set()
        assert (first.result(30).verdict.path, last.result(30).verdict.path) == ("a", "c")
        table, = (tmp_path / "log").glob("*/verdicts.csv")
        with open(table, encoding="utf-8-sig") as opened:
            assert [row["path"] for row in csv.DictReader(opened)] == ["a", "c"]


def test_a_fault_is_an_answer_and_counted(tmp_path):
    class Broken:
        is_alive = False

        def submit(self, file, name):
            raise RuntimeError("a fault")

    service = Service({"part": Broken()}, tmp_path)

    async def ask() -> tuple[httpx.Response, httpx.Response]:
        transport = httpx.ASGITransport(service.app(), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.post("/score", content=b"x"), await client.get("/health")

    answer, health = asyncio.run(ask())
    assert (answer.status_code, health.status_code) == (500, 503)
    assert "has failed" in answer.json()["error"] and "no longer judged" in health.json()["error"]
    assert service.metrics.answers == {500: 1, 503: 1} and not list(tmp_path.iterdir())


@pytest.mark.parametrize("token", ["päß wört", "secret"])
def test_a_token_of_any_letters_works(tmp_path, token):
    service = Service({}, tmp_path, token)

    async def ask(given: bytes) -> int:
        transport = httpx.ASGITransport(service.app())
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return (await client.get("/models", headers={"Authorization": b"Bearer " + given})).status_code

    sent = token.encode()
    assert [asyncio.run(ask(given)) for given in (sent, b"", sent + b"x")] == [200, 401, 401]


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfsecret\r\n", b"secret", b" secret\n"])
def test_a_token_file_may_come_from_any_editor(tmp_path, content):
    (tmp_path / "token").write_bytes(content)
    assert _token(tmp_path / "token") == "secret"


def test_writers_that_begin_a_table_together_write_one_header(judge, tmp_path):
    verdict = judge.verdict(DEMO_PHOTOS[0])
    for number in range(20):
        barrier = threading.Barrier(4)

        def write(name: str, folder: Path = tmp_path / str(number), barrier=barrier) -> None:
            barrier.wait()
            add_rows(folder, [verdict._replace(path=name)])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, "abcd"))
        rows = spreadsheet.read(tmp_path / str(number) / verdict.day / "verdicts.csv")
        assert tuple(rows[0]) == COLUMNS and sorted(row[0] for row in rows[1:]) == list("abcd")


def test_a_full_disk_leaves_no_part_of_what_it_refuses(judge, tmp_path):
    """The limit of a file's size acts like a full disk."""
    code = ("import json, resource, sys; from pathlib import Path; from ulsad.line import Verdict;"
            "from ulsad.line.day_table import add_rows;"
            "verdict = Verdict.from_dict(json.loads(sys.argv[2])); folder = Path(sys.argv[1]);"
            "add_rows(folder, [verdict]); size = (folder / verdict.day / 'verdicts.csv').stat().st_size;"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (size + 250, size + 250))\n"
            "try: add_rows(folder, 2 * [verdict])\n"
            "except OSError as error: print(error.errno)")
    verdict = judge.verdict(DEMO_PHOTOS[0])
    done = subprocess.run([sys.executable, "-c", code, tmp_path, json.dumps(verdict.to_dict())], text=True,
                          capture_output=True)
    assert done.stdout == "28\n", done.stderr
    assert len(spreadsheet.read(tmp_path / verdict.day / "verdicts.csv")) == 2


def test_a_closed_pipe_ends_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError), open(writing, "w") as pipe:
        tell("a word", pipe)
        pipe.write("the pipe is broken indeed")
        pipe.flush()


def test_a_photo_that_is_too_much_spoils_no_other(tmp_path, monkeypatch):
    with judging(DEMO_MODEL) as (service, _):
        judge_all = Judge.verdicts

        def verdicts(self, photos):
            if DEMO_PHOTOS[1] in photos:
                raise MemoryError
            return judge_all(self, photos)

        monkeypatch.setattr(Judge, "verdicts", verdicts)
        first, second, third = (service.submit(photo, photo.name) for photo in DEMO_PHOTOS[:3])
        assert first.result(30).verdict.path == DEMO_PHOTOS[0].name
        assert third.result(30).verdict.path == DEMO_PHOTOS[2].name
        with pytest.raises(MemoryError):
            second.result(30)


def test_photos_at_hand_are_finished_when_it_is_stopped(tmp_path):
    command = [sys.executable, "-m", "ulsad", "serve", str(DEMO_MODEL), "--port", "0"]
    service = subprocess.Popen(command, stderr=subprocess.PIPE, text=True,
                               env=os.environ | {"TMPDIR": str(tmp_path)})
    host, port = next(service.stderr).split("http://")[1].split("/")[0].split(":")
    statuses = []

    def ask() -> None:
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        connection.request("POST", "/score", DEMO_PHOTOS[0].read_bytes())
        statuses.append(connection.getresponse().status)

    clients = [threading.Thread(target=ask) for _ in range(12)]
    for client in clients:
        client.start()
    while httpx.get(f"http://{host}:{port}/health").json()["at_hand"] < 5:
        pass
    service.terminate()
    for client in clients:
        client.join()
    assert statuses == 12 * [200]
    assert "Stopped" in service.communicate(timeout=30)[1] and service.returncode == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("arguments", "says"), [
    (["missing.safetensors"], "missing.safetensors"),
    ([str(DEMO_MODEL), str(DEMO_MODEL)], "Two models are called demo"),
    ([str(DEMO_MODEL), "--token-file", "missing"], "token can't be read from missing"),
    ([str(DEMO_MODEL), "--token-file", str(DEMO_MODEL)], "token can't be read"),
    ([str(DEMO_MODEL), "--port", "0", "--log", os.devnull], "Choose another --log"),
    ([str(DEMO_MODEL), "--token-file", os.devnull], "holds no token"),
    ([str(DEMO_MODEL), "--host", "203.0.113.1"], "can't listen on 203.0.113.1:8000"),
])
def test_what_it_can_not_start_with(arguments, says, capsys):
    assert main(["serve", *arguments]) == 2
    assert says in capsys.readouterr().err
