"""The run card of a really trained, if poor, detector, and two of them side by side."""

import dataclasses
import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from ulsad import Config
from ulsad.detector.criterion import clopper_pearson
from ulsad.method.config import PRESETS
from ulsad.photos.datasets import GOOD, find_categories
from ulsad.runs.histogram import score_histogram
from ulsad.runs.outcome import Outcome, Scores, judge
from ulsad.runs.outcome import Tested as Photo
from ulsad.runs.run_card import Card, comparison, run_card

LOSSES = [{"step": 1, "local": 9.0, "attention": 8.0, "local_global": 7.0},
          {"step": 12, "local": 0.25, "attention": 0.125, "local_global": 0.0625}]


@pytest.fixture(scope="module")
def outcome(detector, demo_set) -> Outcome:
    return judge(detector, find_categories(demo_set)[0].test)


@pytest.fixture(scope="module")
def card(detector, outcome) -> Card:
    return Card("tray", detector.config, detector.record, outcome, LOSSES, held_out_given=False)


def without_good(outcome: Outcome) -> Outcome:
    return dataclasses.replace(outcome, tested=tuple(p for p in outcome.tested if p.kind != GOOD))


def bars(svg: str) -> dict[str, int]:
    """Sum of the counts of the bars, by sort of photo; the fragment must be well-formed."""
    totals = {}
    for rectangle in ElementTree.fromstring(svg).iter("rect"):
        count, of, sort = re.fullmatch(r"(\d+) of (\d+) (.+): scores from .*", rectangle[0].text).groups()
        totals[sort] = totals.get(sort, 0) + int(count)
        assert int(count) <= int(of)
    return totals


def cells(table: str) -> dict[str, list[str]]:
    """Rows of a table by their heading: the cells' HTML."""
    rows = re.findall(r"<tr><th>([^<]+)</th>((?:<td>.*?</td>)+)</tr>", table)
    return {name: re.findall("<td>(.*?)</td>", row) for name, row in rows}


class Balanced(HTMLParser):
    """Raises where an element is closed that is not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_card_says_what_was_trained_and_what_it_came_to(card, outcome):
    text = run_card(card)
    area, (low, high) = outcome.aurocs["combined"]
    above = outcome.above(outcome.criterion.review)
    share = clopper_pearson(*above)
    for words in ("10 trained on, 2 held out", "2 good photos, a share of 15% drawn at random with seed 0",
                  "12 of 12", "local 0.2500, attention 0.1250, local-global 0.0625 at step 12",
                  f"{area:.1%} ({low:.1%} to {high:.1%})", "compared with the 3 good test photos",
                  f"{above.photos} of 7 ({share.low:.1%} to {share.high:.1%})", "logical_anomalies",
                  f"at most {clopper_pearson(0, 2).high:.1%} of all good parts do",
                  "Only 2 good photos were held out",
                  f"torch {card.record['versions']['torch']}", card.record["created"], "autoencoder_width",
                  "not the ground truth", "in the same way as the training photos"):
        assert words in text, words
    assert Balanced(text).open == []
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"(src|href)=", text) and "<script" not in text and "http" not in text


def test_the_card_warns(card, outcome):
    record = card.record | {"steps": 5, "skipped": ["a.png: torn"], "held_out": ["x.png"] * 19}
    seen = outcome.tested[0]._replace(seen_in="training", name="again.png")
    outcome = dataclasses.replace(outcome, tested=(seen, *outcome.tested[1:]), skipped=("b.png: torn",))
    text = run_card(dataclasses.replace(card, record=record, outcome=outcome))
    for words in ("ended after 5 of 12 steps", "left out of training: 1 (a.png: torn)",
                  "not counted in the results: 1 (b.png: torn)", "mean little: 1 (again.png)"):
        assert words in text, words
    assert "Only 19" not in text
    assert "class='warning'" not in run_card(dataclasses.replace(
        card, record=card.record | {"held_out": ["x.png"] * 19}))


def test_the_card_says_how_well_self_made_defects_were_located_and_whether_more_steps_may_pay(card):
    record = card.record | {"held_out": ["x.png"] * 19}
    still, better = (run_card(dataclasses.replace(card, record=record | {"looks": looks}))
                     for looks in ([[6, 0.02], [12, 0.019]], [[6, 0.02], [12, 0.01]]))
    assert "2.0% after 6 steps, 1.9% after 12 steps" in still and "may pay" not in still
    assert "limit of 12 steps" in better and "steps=24" in better


def test_held_out_photos_in_place_of_good_test_photos_are_admitted(card, outcome):
    text = run_card(dataclasses.replace(card, outcome=without_good(outcome), held_out_given=True))
    assert "with the 2 held-out good photos" in text and "unknown amount" in text and "given sep" in text
    assert "false alarms" not in text and "false alarms" in run_card(card)


def test_it_does_without_defects_without_losses_and_without_a_judgement(card, outcome):
    alone = dataclasses.replace(outcome, tested=())
    text = run_card(dataclasses.replace(card, outcome=alone, losses=(), held_out_given=None))
    assert "No test defects were given" in text and "AUROC" not in text and "Last losses" not in text
    assert "2 good photos</td>" in text
    assert bars(score_histogram(alone)) == {"held-out good photos": 2}
    assert "no result yet" in run_card(dataclasses.replace(card, outcome=None))


@pytest.mark.parametrize(("config", "words"), [
    (PRESETS["quick"], "<td>preset quick</td>"),
    (PRESETS["paper"], "<td>preset paper</td>"),
    (dataclasses.replace(PRESETS["paper"], layers=("layer1", "layer2")),
     "<td>preset paper, but layers=layer1,layer2 instead of null</td>"),
    (Config(steps=600, batch_size=8, stop_when_still=False, relative_maps=False),
     "<td>preset thorough, but relative_maps=false instead of true</td>"),
])
def test_settings_are_told_from_the_nearest_preset(card, config, words):
    assert words in run_card(dataclasses.replace(card, config=config))


def test_every_photo_is_in_the_histogram(outcome):
    counts = bars(score_histogram(outcome))
    assert counts == {"held-out good photos": 2, "good test photos": 3, "defects": 7}


@pytest.mark.parametrize("spread", [0.0, 1e-3, 1.0, 1e5])
def test_the_histogram_holds_scores_of_any_size(outcome, spread):
    rng = np.random.default_rng(0)
    scores = [Scores(*row) for row in rng.normal(0, spread, (500, 3))]
    tested = tuple(Photo("a.png", "dent", None, "", one) for one in scores[100:])
    wide = dataclasses.replace(outcome, held_out=tuple(scores[:100]), tested=tested)
    svg = score_histogram(wide)
    assert bars(svg) == {"held-out good photos": 100, "defects": 400}
    places = [float(value) for value in re.findall(r" x='([^']+)'", svg)]
    assert min(places) >= 0 and max(places) <= 745 and not any(map(math.isnan, places))


def test_bars_stand_where_the_lines_put_them(outcome):
    """The lines are drawn by score, bars by histogram: what is above a line is to its right."""
    criterion = dataclasses.replace(outcome.criterion, review=0.5, fail=0.5)
    at = [Scores(score, 0, 0) for score in (0.1, 0.3, 0.9, 2.0)]
    svg = score_histogram(dataclasses.replace(outcome, criterion=criterion, held_out=tuple(at), tested=()))
    line = float(re.search(r"<path d='M([\d.]+),2V", svg)[1])
    middles = [float(rectangle.get("x")) + float(rectangle.get("width")) / 2
               for rectangle in ElementTree.fromstring(svg).iter("rect")]
    assert [middle > line for middle in middles] == [False, False, True, True]


def test_names_are_escaped_and_need_not_be_utf_8(card, outcome):
    odd = Photo("caf\udce9.png", "<em>dent</em>", None, "training", Scores(9.0, 9.0, 9.0))
    record = card.record | {"train": ["<b>&.png", "caf\udce9.png"], "skipped": ["<u>\udce9: torn"]}
    odd_card = Card("tray <2> & \udce9", card.config, record, dataclasses.replace(outcome, tested=(odd,)))
    text = run_card(odd_card) + comparison([odd_card, card])
    text.encode("utf-8")
    assert "tray &lt;2&gt; &amp; ?" in text and "&lt;em&gt;dent&lt;/em&gt;" in text and "caf?.png" in text
    assert not re.search("<(b>&|em>|u>|2>)", text)


def test_a_comparison_marks_just_what_differs(card):
    other = dataclasses.replace(
        card, name="other", config=dataclasses.replace(card.config, seed=7, learning_rate=0.01),
        record=card.record | {"steps": 6}, held_out_given=True)
    table = comparison([card, other])
    rows = cells(table)
    marked = {name for name, (one, two) in rows.items() if "≠" in one}
    assert marked == {"Status", "Steps", "Held out", "learning_rate", "seed"}
    for name, (one, two) in rows.items():
        assert (one != two) == (name in marked) == ("≠" in two), name
    assert rows["seed"] == ["<b>≠ 0</b>", "<b>≠ 7</b>"]
    assert rows["Status"] == ["<b>≠ finished</b>", "<b>≠ stopped early</b>"]
    assert not set(rows) & {"steps", "alpha"} and "Settings that differ" in table
    assert Balanced(table).open == []
    same = comparison([card, card])
    assert "≠" not in same and "All settings are the same" in same


def test_a_comparison_warns_of_other_test_photos_and_takes_a_run_without_a_model(card, outcome):
    fewer = dataclasses.replace(card, outcome=without_good(outcome))
    assert "not tested on the same photos" in comparison([card, fewer])
    assert "not tested on the same photos" not in comparison([card, card])
    rows = cells(comparison([card, Card("failed", card.config, {})]))
    assert rows["Status"][1] == "<b>≠ no model</b>" and rows["AUROC"][1] == "<b>≠ –</b>"
