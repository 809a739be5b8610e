"""The run directory: one writer, one configuration, slots that know what is settled."""

import subprocess
import sys
from pathlib import Path

import pytest

from selflengthen.config import load_config
from selflengthen.errors import StoreError
from selflengthen.records import Reason, Rejection, Selection
from selflengthen.store import RunDirectory
from selflengthen.store.run import read_record

DIGESTS = {"en": "1", "zh": "2"}


def made(path: Path, *overrides: str) -> RunDirectory:
    return RunDirectory.create(path, load_config(None, overrides), DIGESTS)


def test_open_gives_the_settings_back(tmp_path: Path):
    made(tmp_path / "run", "instruct.count=12", "languages=['zh']")
    assert RunDirectory.open(tmp_path / "run").config == load_config(None, ["instruct.count=12", "languages=['zh']"])


def test_create_refuses_a_folder_in_use(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="not empty"):
        made(tmp_path)


def test_create_goes_on_where_a_kill_left_it(tmp_path: Path):
    made(tmp_path / "run")
    (tmp_path / "run" / "config.json").rename(tmp_path / "run" / "config.json.partial")
    assert made(tmp_path / "run").config == load_config()


@pytest.mark.parametrize(("text", "message"), [(None, "not a run directory"), ("{", "cannot be read"), ('{"seed": "x"}', "seed = 'x'")])
def test_open_refuses_what_is_no_run(tmp_path: Path, text: str | None, message: str):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        RunDirectory.open(tmp_path)


def test_other_settings_are_refused_by_name(tmp_path: Path):
    run = made(tmp_path / "run")
    other = load_config(None, ["instruct.count=7", "sampling.temperature=1.0"])
    with pytest.raises(StoreError, match=r"instruct\.count: 5000 -> 7; sampling\.temperature: 0\.7 -> 1\.0"):
        run.resume_with(other, DIGESTS)
    with pytest.raises(StoreError, match="recipe 'zh': its files have changed"):
        run.resume_with(run.config, DIGESTS | {"zh": "3"})
    assert RunDirectory.open(tmp_path / "run").config == load_config()


def test_free_settings_may_change_and_are_kept(tmp_path: Path):
    run = made(tmp_path / "run")
    faster = load_config(None, ["engine.max_batch=128", "iterations=5"])
    run.resume_with(faster, DIGESTS)
    assert RunDirectory.open(tmp_path / "run").config == faster


def test_who_is_refused_the_run_changes_no_setting(tmp_path: Path):
    run = made(tmp_path / "run")
    with run.locked(), pytest.raises(StoreError, match="in use"):
        RunDirectory.open(run.path).resume_with(load_config(None, ["iterations=5"]), DIGESTS)
    assert RunDirectory.open(run.path).config == load_config()


@pytest.mark.parametrize("text", [None, "junk", "[]", "{}", '{"recipes": 3}'])
def test_run_json_that_cannot_be_read_is_told(tmp_path: Path, text: str | None):
    run = made(tmp_path / "run")
    (run.path / "run.json").unlink()
    if text:
        (run.path / "run.json").write_text(text)
    with pytest.raises(StoreError, match=r"run\.json cannot be read"):
        run.resume_with(run.config, DIGESTS)


def test_folders_in_the_place_of_files_are_told(tmp_path: Path):
    run = made(tmp_path / "run")
    (run.path / "lock").mkdir()
    with pytest.raises(StoreError, match=r"cannot write .*lock"), run.locked():
        pass
    (run.path / "config.json").unlink()
    (run.path / "config.json").mkdir()
    with pytest.raises(StoreError, match=r"config\.json cannot be read"):
        RunDirectory.open(run.path)


def test_a_record_that_is_none_is_told_with_the_remedy(tmp_path: Path):
    (tmp_path / "measurement.json").write_text("junk")
    with pytest.raises(StoreError, match=r"is not a Selection .* Delete it and run again"):
        read_record(tmp_path / "measurement.json", Selection)


def test_a_row_deleted_from_a_done_slot_is_owed_again(tmp_path: Path):
    slot = made(tmp_path / "run").slot(1, "windows", Selection)
    for key in ("a", "b"):
        slot.write(Selection(key=key, kept=(), dropped=()))
    slot.finish()
    assert slot.done
    lines = slot.kept.path.read_bytes().splitlines(keepends=True)
    slot.kept.path.write_bytes(lines[0])
    again = RunDirectory.open(tmp_path / "run").slot(1, "windows", Selection)
    assert not again.done
    again.marker.write_text("junk")
    assert not again.done


HOLD = """
import sys
from pathlib import Path
from selflengthen.store import RunDirectory
with RunDirectory.open(Path(sys.argv[1])).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_one_writer_at_a_time_even_after_a_kill(tmp_path: Path):
    run = made(tmp_path / "run")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(StoreError, match=f"in use by another process .pid {holder.pid}"), run.locked():
            pass
    finally:
        holder.kill()
        holder.communicate()
    with run.locked():
        pass


def test_a_slot_settles_keys_either_way_and_is_done_once_marked(tmp_path: Path):
    slot = made(tmp_path / "run").slot(1, "things", Selection)
    slot.write(Selection(key="a", kept=(), dropped=()))
    slot.write(Rejection(key="b", stage="respond", language="en", reason=Reason.REPEATED))
    assert (slot.settled("a"), slot.settled("b"), slot.settled("c"), slot.done) == (True, True, False, False)
    slot.finish(planned=2)
    again = RunDirectory.open(tmp_path / "run").slot(1, "things", Selection)
    assert again.done
    assert again.facts() == {"kept": 1, "rejected": 1, "planned": 2}


def test_a_key_kept_and_rejected_at_once_is_refused(tmp_path: Path):
    run = made(tmp_path / "run")
    slot = run.slot(1, "things", Selection)
    slot.kept.append(Selection(key="a", kept=(), dropped=()))
    slot.rejected.append(Rejection(key="a", stage="respond", language="en", reason=Reason.EMPTY))
    with pytest.raises(StoreError, match="'a' is kept here and rejected in"):
        RunDirectory.open(run.path).slot(1, "things", Selection)


def test_putting_away_moves_and_deletes_nothing(tmp_path: Path):
    run = made(tmp_path / "run")
    run.slot(1, "things", Selection).write(Selection(key="a", kept=(), dropped=()))
    run.put_away(1, ["things.*"])
    assert not run.slot(1, "things", Selection).settled("a")
    assert (run.attic(1) / "000" / "things.jsonl").read_text().startswith('{"key":"a"')


def test_the_event_log_never_stops_a_run(tmp_path: Path):
    run = made(tmp_path / "run")
    (tmp_path / "run" / "events.jsonl").mkdir()
    run.event("anything", number=1)
