"""What the app keeps of uploaded files."""

from __future__ import annotations

from ulsad.ui.train_tab import _keep


def test_uploads_of_the_same_name_are_all_kept_and_none_is_changed(tmp_path):
    files = [tmp_path / "c/x-2.png", tmp_path / "a/x.png", tmp_path / "b/x.png"]
    for file in files:
        file.parent.mkdir()
        file.write_text(str(file))
    kept = _keep([str(file) for file in files], tmp_path / "kept")
    assert len(set(kept)) == 3
    for file, place in zip(files, kept):
        assert file.read_text() == place.read_text() == str(file)
