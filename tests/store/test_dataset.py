"""Append-only datasets: a torn tail is owed again, corruption is named, a full disk loses nothing."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from selflengthen.errors import StoreError
from selflengthen.records import Selection
from selflengthen.store import Dataset
from selflengthen.store.dataset import write_whole


def row(key: str, size: int = 1) -> Selection:
    return Selection(key=key, kept=tuple(f"字{n}" for n in range(size)), dropped=())


def filled(path: Path, *keys: str) -> Dataset[Selection]:
    dataset = Dataset(path, Selection)
    for key in keys:
        dataset.append(row(key))
    return dataset


def test_rows_come_back_as_they_were_written(tmp_path: Path):
    dataset = filled(tmp_path / "rows.jsonl", "a", "b")
    again = Dataset(tmp_path / "rows.jsonl", Selection)
    assert list(again) == list(dataset) == [row("a"), row("b")]
    assert again.keys == ["a", "b"]
    assert again.get("b") == row("b")
    assert "a" in again
    assert "c" not in again
    assert len(again) == 2


@pytest.mark.parametrize("torn", [b"{", b'{"key":"c","kept":[', b'{"key":"c","kept":["\xe5', b'{"key":"c","kept":[],"dropped":[]}'])
def test_a_torn_tail_is_cut_off_and_its_row_can_be_written_again(tmp_path: Path, torn: bytes):
    path = tmp_path / "rows.jsonl"
    filled(path, "a", "b")
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    dataset = Dataset(path, Selection)
    assert path.read_bytes() == whole
    dataset.append(row("c"))
    assert Dataset(path, Selection).keys == ["a", "b", "c"]


@pytest.mark.parametrize("cut", range(1, 40, 7))
def test_a_line_cut_anywhere_is_owed_again(tmp_path: Path, cut: int):
    path = tmp_path / "rows.jsonl"
    filled(path, "a", "b")
    path.write_bytes(path.read_bytes()[:-cut])
    assert Dataset(path, Selection).keys == ["a"]


@pytest.mark.parametrize(
    "bad",
    ["not json", '{"key":"x"}', '{"key":"x","kept":[],"dropped":[],"new":1}', "", "\x00\x00"],
    ids=["no json", "field missing", "unknown field", "empty line", "zeros"],
)
def test_a_corrupt_line_in_the_middle_is_named_with_the_remedy(tmp_path: Path, bad: str):
    path = tmp_path / "rows.jsonl"
    filled(path, "a", "b")
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0], bad, lines[1], ""]), encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"rows\.jsonl:2 is not a Selection row .*Delete that line"):
        Dataset(path, Selection)
    assert path.read_bytes() == before


def test_a_key_that_stands_twice_is_refused(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    filled(path, "a")
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(StoreError, match=r":2: key 'a' stands twice"):
        Dataset(path, Selection)


def test_writing_a_key_twice_is_a_bug(tmp_path: Path):
    dataset = filled(tmp_path / "rows.jsonl", "a")
    with pytest.raises(AssertionError, match="written twice"):
        dataset.append(row("a"))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from selflengthen.records import Selection
from selflengthen.store import Dataset
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
dataset = Dataset(Path(sys.argv[1]), Selection)
for n in range(1000):
    dataset.append(Selection(key=str(n), kept=("x" * 300,), dropped=()))
"""


def test_a_full_disk_leaves_whole_rows_only(tmp_path: Path):
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    path = tmp_path / "rows.jsonl"
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True)
    assert done.returncode != 0
    assert "StoreError: cannot write" in done.stderr
    assert "All earlier rows are safe" in done.stderr
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert [json.loads(line)["key"] for line in lines] == [str(n) for n in range(len(lines))]
    assert len(lines) > 5


def test_a_whole_file_is_there_complete_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "deep" / "marker.json"
    write_whole(path, "old")

    def no_space(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(StoreError, match="No space left on device"):
        write_whole(path, "new")
    assert path.read_text() == "old"


def test_a_file_that_goes_while_it_is_written_is_told(tmp_path: Path):
    dataset = filled(tmp_path / "run" / "rows.jsonl", "a")
    dataset.path.unlink()
    with pytest.raises(StoreError, match="changed, moved or deleted"):
        dataset.append(row("b"))


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot write"):
        filled(tmp_path / "file" / "rows.jsonl", "a")
    with pytest.raises(StoreError, match="cannot write"):
        write_whole(tmp_path / "file" / "whole.json", "{}")
