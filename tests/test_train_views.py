"""What Train shows of a run, from its directory."""

from __future__ import annotations

import pandas as pd

from ulsad.runs import directory, events
from ulsad.ui.component import renewed
from ulsad.ui.train import views as train_views


def test_losses_are_numbers_before_the_first_step_too(tmp_path):
    """With None in it, or no row, the plot takes the column for words and never draws a line again."""
    events.append(tmp_path, "starting")
    table = train_views.losses(directory.read(tmp_path))
    assert len(table) == 3 and table.value.isna().all() and pd.api.types.is_float_dtype(table.value)
    events.append(tmp_path, "training", step=1, done=1, total=9, local=1.5, attention=1.25,
                     local_global=0.5)
    table = train_views.losses(directory.read(tmp_path))
    assert table.value.tolist() == [1.5, 1.25, 0.5] and set(table.step) == {1}


def test_a_run_that_died_says_its_last_words(tmp_path):
    events.append(tmp_path, "starting")
    (tmp_path / directory.LOG).write_text("Traceback …\nMemoryError: <no room>\n\n", encoding="utf-8")
    state = directory.read(tmp_path)  # it has no heartbeat
    assert state.status == "interrupted" and "MemoryError: &lt;no room&gt;" in train_views.status(state)


def test_new_choices_leave_a_choice_alone_that_is_still_there():
    """The user may choose another one before they arrive, and would lose it."""
    for names in (["a", "b"], [("A", "a"), ("B", "b")]):
        assert "value" not in renewed(names, "a", "b").constructor_args
        assert renewed(names, "gone", "b").constructor_args["value"] == "b"
        assert renewed(names, "gone", None).constructor_args["value"] is None
        assert "value" not in renewed(names, None, None).constructor_args  # nothing is chosen yet
