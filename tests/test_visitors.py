"""What comes from a browser is only a name: it is looked up among what is there, and opens nothing else.

EVENTS lists every event of the app with what it does with names and paths. One that is missing there fails a
test, and so does one that lets a path through.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import DEMO_MODEL, DEMO_PHOTOS
from gradio import components

from ulsad.photos.images import find_images
from ulsad.runs import directory, events
from ulsad.ui import page, places
from ulsad.ui.attention.views import MODEL as MODEL_ABOVE

NO_NAME = "takes no name and no path"
MODEL = "looks the model's name up among runs, lone model files and the demo"
RUN = "looks the run's name up among the runs that are there"
LISTED = "looks the name up in the list of runs and models"
FOLDER = "looks a folder up below --data-root, step by step; links that lead out of it are refused"
UPLOAD = "takes a file where gradio says that it was uploaded"
EVENTS = {
    "api.models": NO_NAME, "api.score": f"{MODEL}; {UPLOAD}; both are tried in test_api",
    "slot._added": "takes files that gradio says were uploaded; their names must stay inside the slot",
    "slot._taken_out": "takes names out that are in the slot, passes over others",
    "slot._emptied": NO_NAME, "slot._value": NO_NAME,
    "inspect.scoring.score": MODEL,
    "inspect.scoring.own_settings": NO_NAME, "inspect.tab._draw": NO_NAME, "inspect.tab._filtered": NO_NAME,
    "inspect.scoring.stop": NO_NAME,
    "inspect.scoring.opened": MODEL, "inspect.scoring.opened_folder": FOLDER,
    "inspect.tab._alpha_moved": NO_NAME, "inspect.tab._beta_moved": NO_NAME,
    "inspect.tab._suggested": NO_NAME, "inspect.tab._dragged": NO_NAME, "inspect.tab._picked": NO_NAME,
    "inspect.tab._probed": NO_NAME, "inspect.tab._ignored": NO_NAME,
    "inspect.marking.marked_good": NO_NAME, "inspect.marking.undone": NO_NAME,
    "inspect.marking.fitted": NO_NAME, "inspect.days.shown": NO_NAME,
    "inspect.marking.marked_defect": "keeps the name of a kind as a text in a list of marks; refuses "
                                      "what is no drawing",
    "inspect.take_away._save": "keeps a criterion under any name inside the open model's file",
    "inspect.take_away._restore": "looks the criterion's name up in the open model's file",
    "inspect.take_away._table": NO_NAME, "inspect.take_away._report": NO_NAME,
    "inspect.take_away._raw_maps": NO_NAME, "inspect.take_away._model_file": NO_NAME,
    "inspect.figure.offered": "keeps those of the chosen names that are open",
    "inspect.figure._drawn": "looks the photos' names up among those of the visitor's own batch; captions "
                             "are drawn",
    "train.runs_list._listed": LISTED,
    "train.runs_list._clicked": "hands a row's name back to the browser",
    "train.runs_list._compared": LISTED,
    "train.runs_list._rename": f"{LISTED}; a new one must be a plain file name",
    "train.runs_list._rename_part": f"{LISTED}; a new one must be a plain file name",
    "train.runs_list._ask_part": "repeats the name in a question",
    "train.runs_list._packed": LISTED,
    "train.runs_list._unpacked": f"{UPLOAD}; names in the zip must be those of a part's files",
    "train.runs_list._ask": "repeats the name in a question",
    "train.runs_list._kept": NO_NAME, "train.runs_list._delete": LISTED,
    "train.order.check": FOLDER, "train.order.check_changed": FOLDER, "train.order.cost": UPLOAD,
    "train.tab._start": f"{UPLOAD}; the new run's name must be a plain file name that is free",
    "train.tab._check_stopped": NO_NAME, "train.tab._emptied": NO_NAME,
    "train.tab._stop": RUN, "train.tab._resume": RUN, "train.tab._open": RUN, "train.tab._watch": RUN,
    "train.tab._remembered": "keeps the run's name in the browser", "train.tab._mine": RUN,
    "train.tab._runs": RUN,
    "train.tab._with_marks": RUN,
    "train.tab._leave_out": f"{RUN}, and the photos' names among its photos",
    "train.tab._used": RUN,
    "attention.photo_list._open": UPLOAD, "attention.photo_list._pick": NO_NAME,
    "attention.photo_list.follow": NO_NAME,
    "attention.photo_list._beside": "looks the name up in the list of photos",
    "attention.tab._layers": NO_NAME, "attention.tab._later": NO_NAME,
    "attention.tab._show": f"{MODEL}; {UPLOAD}", "attention.tab._find": f"{MODEL}; {UPLOAD}",
    "attention.tab._typed": f"{MODEL}; {UPLOAD}", "attention.tab._draw": f"{MODEL}; {UPLOAD}",
    "attention.tab.ask": f"{MODEL}; {UPLOAD}", "attention.tab.peek": f"{MODEL}; {UPLOAD}",
    "learn.tab._followed": NO_NAME,
    "learn.tab._show": f"{MODEL}; looks the photo's name up in the list of photos",
    "learn.tab._spoiled": f"{MODEL}; looks the photo's name up in the list of photos",
    "learn.tab.ask": f"{MODEL}; looks the photo's name up in the list of photos",
    "learn.tab._renewed": f"{MODEL}; looks the photo's name up in the list of photos",
    "learn.tab.choose": f"{MODEL}; looks the photo's name up in the list of photos, a small model's "
                        "among those that ship",
    "learn.tab.level": f"{MODEL}; looks the photo's name up in the list of photos",
    "learn.tab.take": f"{MODEL}; looks the photo's name up in the list of photos, a picture's in the "
                      "lesson",
    "evaluate.tab.evaluated": f"{MODEL}; {FOLDER}", "evaluate.tab._report": NO_NAME,
    "evaluate.tab._at_threshold": NO_NAME, "evaluate.tab._stopped": NO_NAME, "evaluate.tab._open": NO_NAME,
    "page._to_train": NO_NAME, "header._returned": MODEL, "header._chosen": MODEL, "header._renewed": MODEL,
}
# Where a strange name is not refused, because it does nothing: it is passed over, shown, or kept as a text.
HARMLESS = {"inspect.scoring.opened", "inspect.marking.marked_defect", "inspect.take_away._save",
            "inspect.take_away._restore", "train.runs_list._listed", "train.runs_list._compared",
            "train.runs_list._ask", "train.tab._watch", "train.tab._remembered", "train.runs_list._ask_part",
            "header._returned", "header._chosen", "header._renewed",
            "inspect.scoring.score",
            "train.tab._mine", "train.tab._runs", "train.order.cost", "attention.tab._find"}
SECRET = "the secret of another folder"


class Visitor:
    """Somebody who sends whatever he likes, without the page."""

    def __init__(self, address: str) -> None:
        self.client = httpx.Client(base_url=f"{address.rstrip('/')}/gradio_api", timeout=120)
        self.session = uuid.uuid4().hex

    def post(self, fn: int, data: list, event_data: Any = None) -> dict[str, Any]:
        """The answer of an event; 'success' says whether it was refused."""
        body = {"fn_index": fn, "data": data, "event_data": event_data, "session_hash": self.session}
        joined = self.client.post("/queue/join", content=json.dumps(body),
                                  headers={"content-type": "application/json"})
        if not joined.is_success:
            return {"success": False}
        with self.client.stream("GET", "/queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if message.get("msg") == "process_completed":
                    return message
        raise AssertionError("the stream ended without an answer")

    def upload(self, files: list[Path]) -> list[str]:
        return self.client.post("/upload", files=[("files", (path.name, path.read_bytes())) for path in files]
                                ).json()


@pytest.fixture(scope="module")
def there(tmp_path_factory) -> Path:
    """models: a run, and a link that leads out; data: photos, and a link that leads out; beside them what
    nobody may reach: a run that could be resumed, a model, photos, and a secret."""
    root = tmp_path_factory.mktemp("server")
    for place in ("models/mine", "outside/run", "data/good", "outside/photos"):
        (root / place).mkdir(parents=True)
    for run in ("models/mine", "outside/run"):
        events.append(root / run, "stopped")
        (root / run / directory.ORDER).write_text(json.dumps({"photos": [str(root / "outside/photos")]}))
        shutil.copy(DEMO_MODEL, root / run / directory.MODEL)
        (root / run / directory.OUTCOME).write_text(SECRET)
    shutil.copy(DEMO_MODEL, root / "outside/lone.safetensors")
    (root / "outside/secret.txt").write_text(SECRET)
    for i, photo in enumerate(DEMO_PHOTOS):
        shutil.copy(photo, root / "outside/photos" / f"{SECRET} {i}.jpg")
        shutil.copy(photo, root / "data/good" / f"{i}.jpg")
    for link, target in (("models/link", "outside/run"), ("data/link", "outside/photos"),
                         ("models/link.safetensors", "outside/lone.safetensors")):
        (root / link).symlink_to(root / target)
    return root


@pytest.fixture(scope="module")
def app(there):
    """The app itself, served; its folder of models is the present one as far as relative paths go."""
    blocks = page.build(there / "models", there / "data")
    before = Path.cwd()
    os.chdir(there / "models")
    blocks.launch(prevent_thread_lock=True, quiet=True, show_error=True, max_file_size="2gb",
                  allowed_paths=places.allowed(), server_port=None)
    yield blocks
    blocks.close()
    os.chdir(before)


@pytest.fixture(scope="module")
def visitor(app) -> Visitor:
    """With the demo photos open, and good parts in the slot of Train that could be trained on."""
    visitor = Visitor(app.local_url)
    fns = {name: fn for fn, name in named(app)}
    assert visitor.post(fns["inspect.scoring.score"], [":demo", None, None, None])["success"]
    assert visitor.post(fns["learn.tab._followed"], [None] * 4)["success"]  # Learn does nothing before
    own = [None, 0.05, 0.9, 0.995, 0.25, "sum", None]
    assert visitor.post(fns["inspect.scoring.own_settings"], own)["success"]
    good = next(fn for fn, name in named(app) if name == "slot._added"
                and app.fns[fn].targets[0][0] == slot_of(app, "good-parts"))
    uploaded = visitor.upload(DEMO_PHOTOS)
    files = [{"path": path, "name": Path(path).name} for path in uploaded]
    assert visitor.post(good, [None], {"files": files, "left_out": []})["success"]
    checked = visitor.post(fns["train.order.check"], [None] * 4 + [""] * 4)
    assert checked["success"] and "good parts" in json.dumps(checked)
    return visitor


def slot_of(app, elem_id: str) -> int:
    return next(number for number, block in app.blocks.items() if getattr(block, "elem_id", None) == elem_id)


def named(app) -> Iterator[tuple[int, str]]:
    """Every event that runs something here, as its number and module.function, seen from ulsad.ui."""
    for number, fn in app.fns.items():
        inner = inspect.unwrap(fn.fn) if fn.fn else None
        while isinstance(inner, partial):
            inner = inspect.unwrap(inner.func)
        if inner and inner.__module__.startswith("ulsad."):
            yield number, f"{inner.__module__.removeprefix('ulsad.ui.')}.{inner.__name__}"


def evil(there: Path) -> list[str]:
    outside = there / "outside"
    return ["../outside/run", str(outside / "run"), "..", "/etc/hostname", "mine\0", "link",
            "../outside/lone.safetensors", str(outside / "lone.safetensors"), "link.safetensors"]


def is_name(component: components.Component) -> bool:
    """Whether what comes from a component may be meant as a name or a path; captions are drawn."""
    return component.label != "Captions" and isinstance(
        component, components.Textbox | components.Dropdown | components.File | components.UploadButton
        | components.Radio)


def sent(component: components.Component, text: str) -> Any:
    """A text as the browser would send it for a component; for files the path of one that was never sent."""
    if not isinstance(component, components.File | components.UploadButton):
        return text
    file = {"path": text, "orig_name": "x.pth", "meta": {"_type": "gradio.FileData"}}
    return [file] if component.file_count == "multiple" else file


def usual(component: components.Component) -> Any:
    """What the component holds on the page when nobody has touched it; Attention looks through the model."""
    if component.elem_id == "attention-network":
        return MODEL_ABOVE
    return None if component.stateful else getattr(component, "value", None)


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and link, but for photos in slots of Train that wait for a training."""
    return {str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns)
            for path in sorted(folder.rglob("*")) if ".incoming" not in path.parts
            and (path.is_symlink() or not path.is_dir())}


def test_the_list_of_events_is_whole(app):
    assert {name for _, name in named(app)} == set(EVENTS)


@pytest.mark.slow
def test_names_from_a_browser_open_nothing_else(app, visitor, there):
    before, tried = contents(there), set()
    events = sorted(named(app), key=lambda event: event[1] != "train.tab._start")  # while there is a check
    for number, name in events:
        inputs = app.fns[number].inputs
        for place, component in enumerate(inputs):
            if not is_name(component):
                continue
            again = (name, component.label) in tried  # the same function behind another event
            tried.add((name, component.label))
            for text in evil(there)[:1 if again else None]:
                data = [usual(other) for other in inputs]
                data[place] = sent(component, text)
                answer = visitor.post(number, data, {"x": 0.5, "y": 0.5, "row": 3, "column": 4})
                if name not in HARMLESS:
                    assert is_refused(answer), f"{name} took {text!r} as {component.label}: {answer}"
                assert SECRET not in json.dumps(answer), f"{name} told of {text!r}"
    after = contents(there)
    changed = {place for place in before.keys() | after.keys() if before.get(place) != after.get(place)}
    marks = {place for place in changed if place.startswith("models/demo tray.marks/")}
    # A criterion named like a path went into a copy of the demo model, a photo marked as a defect of such
    # a kind into the folder of marks, and nothing anywhere else.
    assert len(marks) == 2 and "models/demo tray.marks/marks.json" in marks
    assert changed - marks == {"models/demo tray, own criteria.safetensors"}


def is_refused(answer: dict[str, Any]) -> bool:
    """An error, or the words of one in its place."""
    said = json.dumps(answer.get("output", {}))
    return not answer["success"] or any(
        words in said for words in ("This did not work", "There is no", "Settings: "))


@pytest.mark.parametrize("name", ["../x.jpg", "/etc/x.jpg", "a/../../x.jpg", "..\\x.jpg", "C:x.jpg",
                                  "a\0.jpg", "\ud800.jpg", "a" * 300 + ".jpg"])
def test_an_upload_can_not_be_put_outside_its_slot(app, visitor, there, name):
    added = next(fn for fn, of in named(app) if of == "slot._added")
    path, = visitor.upload(DEMO_PHOTOS[:1])
    before = contents(places.private())
    answer = visitor.post(added, [None], {"files": [{"path": path, "name": name}], "left_out": []})
    said = next(fn for fn, of in named(app) if of == "slot._value")
    assert not answer["success"] or "left out" in json.dumps(visitor.post(said, [None]))
    assert contents(places.private()) == before


def test_only_uploads_are_taken_into_a_slot(app, visitor, there):
    added = next(fn for fn, of in named(app) if of == "slot._added")
    link = places.private() / "link.jpg"
    link.symlink_to(there / "outside/photos" / f"{SECRET} 0.jpg")
    for path in (there / "outside/secret.txt", find_images(there / "outside/photos")[0], link,
                 DEMO_PHOTOS[0], "/etc/hostname", "../outside/secret.txt", "\0"):
        files = [{"path": str(path), "name": "x.jpg"}]
        answer = visitor.post(added, [None], {"files": files, "left_out": []})
        assert not answer["success"], path


def test_files_are_fetched_by_nobody_but_those_shown(app, visitor, there):
    (places.shown() / "shown.txt").write_text("hello")
    assert visitor.client.get(f"/file={places.shown() / 'shown.txt'}").text == "hello"
    for path in (there / "models/mine" / directory.ORDER, there / "models/mine" / directory.MODEL,
                 there / "models/link",
                 there / "outside/secret.txt", "/etc/hostname", "mine/order.json",
                 places.private(), *find_images(places.private())[:1],
                 places.shown() / ".." / places.private().name,
                 f"{places.shown()}/../../{there}/outside/secret.txt"):
        answer = visitor.client.get(f"/file={path}")
        assert answer.status_code in (403, 404), path
        assert SECRET not in answer.text
