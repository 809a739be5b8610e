"""The parts of the engines over servers that need no server: pace, events, answers, faults, fingerprints."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from asking import Listener, ask

from selflengthen.address import base_url
from selflengthen.config import load_config
from selflengthen.engines import Finish, RequestRefused
from selflengthen.engines.served.answer import Answer
from selflengthen.engines.served.faults import Busy, Faulty, Lost, fault_of, retry_after
from selflengthen.engines.served.hearing import Hearing
from selflengthen.engines.served.identity import Choice, Fingerprint, Memory
from selflengthen.engines.served.pace import MOST, START, Pace
from selflengthen.engines.served.sse import EventCutter
from selflengthen.engines.served.wire import Piece, read_event, sampling_fields
from selflengthen.errors import ConfigError, EngineError
from selflengthen.records import Reason, Sampling
from selflengthen.text.verdict import Verdict

# -- pace -------------------------------------------------------------------------------------------------------------------------------


def began(pace: Pace, times: int, waited: float = 0.1) -> None:
    for _ in range(times):
        pace.began(waited, in_flight=int(pace.limit))


def test_the_limit_doubles_with_each_round_until_its_bound():
    pace = Pace()
    began(pace, START)
    assert pace.limit == 2 * START
    began(pace, 10 * MOST)
    assert pace.limit == MOST
    assert Pace(most=5).limit == 5
    assert Pace(most=500).limit == 500, "who names a number starts with it"


def test_a_server_that_runs_all_it_is_sent_is_given_twice_as_much_though_answers_begin_late():
    pace = Pace()
    began(pace, 10, waited=30.0)
    pace.queued(running=START, waiting=0)
    assert pace.limit == 2 * START
    pace.queued(running=START, waiting=0)
    assert pace.limit == 2 * START, "it has not even what it may have"
    pace.queued(running=2 * START, waiting=1)
    assert pace.limit == 2 * START, "one waits"
    pace.busy(sent_at=0.0, now=0.0, seconds=0.0)
    pace.queued(running=START, waiting=0)
    assert pace.limit == START, "no leaps after the first sign of too much"


def test_a_server_that_is_not_full_tells_nothing_of_room():
    pace = Pace()
    for _ in range(100):
        pace.began(0.1, in_flight=START // 2)
    assert pace.limit == START


def test_an_answer_that_begins_late_was_queued():
    pace = Pace()
    began(pace, 100, waited=30.0)
    assert pace.limit == START


def test_a_refusal_halves_the_limit_once_for_all_that_was_sent_before():
    pace = Pace()
    for _ in range(20):
        pace.busy(sent_at=1.0, now=2.0, seconds=None)
    assert pace.limit == START / 2
    assert not pace.room(0, now=2.0)
    pace.busy(sent_at=3.0, now=4.0, seconds=None)
    assert pace.limit == START / 4


def test_after_a_refusal_the_limit_grows_by_one_a_round():
    pace = Pace()
    pace.busy(sent_at=0.0, now=0.0, seconds=0.0)
    before = pace.limit
    began(pace, int(before))
    assert before + 0.9 < pace.limit < before + 1.1


def test_a_server_is_left_alone_for_as_long_as_it_says():
    pace = Pace()
    pace.busy(sent_at=0.0, now=10.0, seconds=7.5)
    assert not pace.room(0, now=17.4)
    assert pace.room(0, now=17.6)


def test_a_queue_stops_the_growth_and_a_long_one_takes_back():
    pace = Pace()
    began(pace, 200)
    grown = pace.limit
    pace.queued(running=100, waiting=12)
    began(pace, 50)
    assert pace.limit == grown
    pace.queued(running=100, waiting=100)
    assert pace.limit == 110


# -- events -----------------------------------------------------------------------------------------------------------------------------

STREAM = 'data: {"a": "灯与海"}\r\n\r\n: keep-alive\n\nevent: x\ndata:{"b": "😀"}\n\ndata: [DONE]\n\n'.encode()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_whole_wherever_the_bytes_are_cut(size: int):
    cutter = EventCutter()
    found = [event for start in range(0, len(STREAM), size) for event in cutter.feed(STREAM[start : start + size])]
    assert found == ['{"a": "灯与海"}'.encode(), '{"b": "😀"}'.encode(), b"[DONE]"]


def test_an_event_says_its_text_and_counts():
    data = b'{"choices":[{"delta":{"content":"lamp"},"finish_reason":null}],"usage":{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}}'  # noqa: E501
    assert read_event(data) == Piece("lamp", None, 7, 4, 2)
    assert read_event(b'{"choices":[{"text":"sea","finish_reason":"stop"}]}') == Piece("sea", "stop")
    assert read_event(b'{"choices":[],"usage":{"prompt_tokens":7}}') == Piece("", None, 7)


@pytest.mark.parametrize(
    "data", [b"<html>", b"7", b"null", b'{"choices": 3}', b'{"choices": [null]}', b'{"error": {"message": "engine died"}}', b"\xff"]
)
def test_what_is_no_event_is_a_fault(data: bytes):
    with pytest.raises(Faulty):
        read_event(data)


def test_only_what_the_server_takes_is_sent():
    fields = sampling_fields(Sampling(top_k=0, stop=("4.",)), 2**62, [3], frozenset({"top_k", "seed"}))
    assert fields["top_k"] == -1
    assert 0 <= fields["seed"] < 2**31
    assert fields["stop"] == ["4."]
    assert "repetition_penalty" not in fields
    assert "stop_token_ids" not in fields


# -- answers ----------------------------------------------------------------------------------------------------------------------------


def hear(answer: Answer, *events: str) -> Hearing:
    hearing = Hearing(answer, lambda: None)
    for event in events:
        if hearing.take([event.encode()]):
            break
    return hearing


def said(text: str, finish: str | None = None, tokens: int | None = None) -> str:
    import json

    usage = {"usage": {"prompt_tokens": 5, "completion_tokens": tokens}} if tokens is not None else {}
    return json.dumps({"choices": [{"delta": {"content": text}, "finish_reason": finish}], **usage})


def test_an_answer_that_lost_its_server_goes_on_from_where_it_was():
    answer = Answer(ask(prefill="One. "), None)
    assert answer.begin(strips_blank=False) == "One. "
    hear(answer, said("Two. ", tokens=3))
    assert answer.begin(strips_blank=False) == "One. Two. "
    hear(answer, said("Three.", "stop", tokens=2)).over()
    completion = answer.completion()
    assert completion.text == "Two. Three."
    assert (completion.generated_tokens, completion.prompt_tokens) == (5, 10)


def test_an_opening_that_comes_back_is_taken_away():
    answer = Answer(ask(prefill="The lamp stood there."), None)
    answer.begin(strips_blank=False)
    hear(answer, said("The la"), said("mp stood there. It was"), said(" lit.", "stop")).over()
    assert answer.text == " It was lit."


def test_an_answer_that_only_begins_like_its_opening_is_kept():
    answer = Answer(ask(prefill="The lamp stood there."), None)
    answer.begin(strips_blank=False)
    hear(answer, said("The la"), said("nd was wide.", "stop")).over()
    assert answer.text == "The land was wide."
    answer = Answer(ask(prefill="The lamp stood there."), None)
    answer.begin(strips_blank=False)
    hear(answer, said("The lamp", "stop")).over()
    assert answer.text == "The lamp"


def test_the_blank_between_paragraphs_is_written_once():
    answer = Answer(ask(prefill="One.\n\n"), None)
    assert answer.begin(strips_blank=True) == "One."
    hear(answer, said("\n"), said("\n Two."), said(" Three.", "stop")).over()
    assert answer.text == "Two. Three."


def test_halves_of_a_character_are_put_together():
    answer = Answer(ask(), None)
    hear(answer, '{"choices":[{"text":"lamp \\ud83d"}]}', '{"choices":[{"text":"\\ude00!","finish_reason":"stop"}]}').over()
    assert answer.text == "lamp 😀!"
    alone = Answer(ask(), None)
    hear(alone, '{"choices":[{"text":"a\\ude00b","finish_reason":"stop"}]}').over()
    assert alone.text.encode(), "a lone half cannot be written to disk"


def test_a_server_that_ignores_stop_strings_is_stopped():
    answer = Answer(ask(stop=("\n4.",)), None)
    hearing = hear(answer, said("3. Write.\n"), said("4. Another"), said(" one", "stop"))
    assert answer.finish is Finish.STOP
    assert answer.text == "3. Write."
    assert hearing.over()


def test_a_watch_stops_an_answer_and_hears_nothing_after():
    async def go():
        heard = Listener(stop_at=6, verdict=Verdict(Reason.REPEATED, 0, 3))
        answer = Answer(ask(), heard)
        hear(answer, said("lamp "), said("lamp "), said("lamp "))
        return answer, heard

    answer, heard = asyncio.run(go())
    assert answer.finish is Finish.WATCHED
    assert answer.text == "".join(heard.pieces) == "lamp lamp "


@pytest.mark.parametrize(("finish", "outcome"), [("stop", Finish.STOP), ("length", Finish.LENGTH)])
def test_how_an_answer_ends(finish: str, outcome: Finish):
    answer = Answer(ask(), None)
    hear(answer, said("a", finish), "[DONE]")
    assert answer.finish is outcome


def test_a_stream_that_ends_too_early_is_a_fault():
    with pytest.raises(Faulty, match="ended before"):
        hear(Answer(ask(), None), said("a"), "[DONE]")
    with pytest.raises(Faulty, match="abort"):
        hear(Answer(ask(), None), said("a", "abort"), "[DONE]")
    with pytest.raises(RequestRefused, match="content filter"):
        hear(Answer(ask(), None), said("a", "content_filter"), "[DONE]")


# -- faults -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, b'{"error":{"message":"slow down"}}', Busy),
        (503, b"", Busy),
        (500, b"<html>oops</html>", Faulty),
        (502, b"", Faulty),
        (404, b'{"error":{"message":"The model `x` does not exist"}}', Lost),
        (401, b'{"error":"Unauthorized"}', EngineError),
        (429, b'{"error":{"message":"You exceeded your quota","code":"insufficient_quota"}}', EngineError),
        (400, b'{"message":"Unrecognized request argument: top_k"}', RequestRefused),
    ],
)
def test_a_status_says_what_is_to_be_done(status: int, body: bytes, kind: type):
    assert isinstance(fault_of(status, {}, body), kind)


def test_a_full_context_is_told_apart():
    full = fault_of(400, {}, b'{"error":{"message":"This model\'s maximum context length is 4096 tokens. However, your prompt contains 7800"}}')
    assert isinstance(full, RequestRefused)
    assert full.context_full
    other = fault_of(400, {}, b'{"error":{"message":"temperature must be positive"}}')
    assert isinstance(other, RequestRefused)
    assert not other.context_full


def test_retry_after_is_a_number_or_a_date():
    assert retry_after("2.5") == 2.5
    soon = retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True))
    assert soon is not None
    assert 27 < soon <= 30
    assert retry_after("soon") is None
    assert retry_after(None) is None
    assert isinstance(busy := fault_of(429, {"Retry-After": "3"}, b""), Busy)
    assert busy.seconds == 3


@pytest.mark.parametrize("url", ["http://a:1", "http://a:1/", "http://a:1/v1", "http://a:1/v1/"])
def test_a_base_url_is_taken_as_people_write_it(url: str):
    assert base_url(url) == "http://a:1/v1"


@pytest.mark.parametrize(
    "url",
    [
        *("a:1", "localhost", "ftp://a/v1", "http://", "http://a:port", "http://a:99999", "http://[::1/v1"),
        *("http://user:secret@a/v1", "http://a/v1?api_key=secret", "http://a/v1#secret", "http://a:1/v1/chat/completions"),
    ],
)
def test_what_is_no_base_url_is_refused_before_it_is_written_and_without_telling_secrets(url: str):
    with pytest.raises(ConfigError, match=r"engine\.urls") as error:
        load_config(None, ["engine.kind=openai", f'engine.urls=["{url}"]'])
    assert "secret" not in str(error.value)


def test_settings_of_servers_that_cannot_be_are_refused_and_not_said_again():
    for setting in ("engine.api_key_env=sk-live-secret", 'engine.vllm.env={"A=B" = "secret"}', 'engine.vllm.args=["secret\\u0000"]'):
        with pytest.raises(ConfigError) as error:
            load_config(None, [setting])
        assert "secret" not in str(error.value)
    with pytest.raises(ConfigError, match=r'it is a list: urls = \["http://a:1"\]'):
        load_config(None, ["engine.kind=openai", "engine.urls=http://a:1"])


# -- fingerprints -----------------------------------------------------------------------------------------------------------------------


def print_of(*steps: dict[str, float], context: int = 4096) -> Fingerprint:
    choices = tuple(Choice(token=max(step, key=lambda token: step[token]), likely=step) for step in steps)
    return Fingerprint(model="base", mode="chat", context_tokens=context, choices=choices)


KNOWN = print_of({"A": -0.5, "The": -1.5, "In": -3.0}, {"lamp": -0.1, "sea": -2.0})


@pytest.mark.parametrize(
    ("now", "same"),
    [
        (KNOWN, True),
        (print_of({"A": -0.53, "The": -1.45, "Once": -3.0}, {"lamp": -0.12, "sea": -2.1}), True),
        (print_of({"A": -0.6, "The": -0.55, "In": -3.0}, {"storm": -0.1, "gull": -2.0}), False),
        (print_of({"Dear": -0.2, "Hi": -2.0}), False),
        (print_of({"A": -1.5, "The": -0.5, "In": -3.0}), False),
        (print_of({"A": -0.5, "The": -1.5, "In": -3.0}, {"lamp": -0.1, "sea": -2.0}, context=2048), False),
    ],
)
def test_a_model_is_recognised_but_for_rounding(now: Fingerprint, same: bool):  # noqa: FBT001
    assert (KNOWN.difference(now) is None) == same


def test_a_near_tie_may_fall_otherwise():
    before = print_of({"A": -0.70, "The": -0.71}, {"lamp": -0.1, "sea": -2.0})
    after = print_of({"A": -0.72, "The": -0.70}, {"quite": -0.3, "else": -1.0})
    assert before.difference(after) is None


def test_the_model_of_a_run_is_remembered(tmp_path):
    file = tmp_path / "server.json"
    Memory(file).check("http://a/v1", KNOWN)
    Memory(file).check("http://a/v1", KNOWN)
    with pytest.raises(EngineError, match="another model as 'base'"):
        Memory(file).check("http://a/v1", print_of({"Dear": -0.2, "Hi": -2.0}))
    file.write_text("{}")
    with pytest.raises(EngineError, match=r"server\.json cannot be read"):
        Memory(file)
