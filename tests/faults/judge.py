"""The judge: what every client got, row by row against usage_event, the engines' own journals and the ledger."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tests.faults.clients import Call
from tests.faults.engine import CACHED_TOKENS, PROMPT_TOKENS
from tests.faults.harbour import Harbour

#: A checkpoint is written every second; a test machine with more processes than cores is late now and then.
UNBILLED_SECONDS = 1.0
#: The status of a repetition that is not served.
REPEATED = 409
LATE_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """A row of usage_event."""

    request_id: str
    outcome: str
    status: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    source: str
    is_disputed: bool


@dataclasses.dataclass
class Verdict:
    """What is wrong, and what was seen."""

    complaints: list[str] = dataclasses.field(default_factory=list)
    seen: Counter[str] = dataclasses.field(default_factory=Counter)
    #: The oldest token that a client got and nobody paid for, in seconds before its stream broke.
    unbilled_seconds: float = 0.0
    unbilled_tokens: int = 0

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.seen.items()))
        worst = f"oldest unbilled token {self.unbilled_seconds:.2f} s, {self.unbilled_tokens} unbilled in all"
        return "\n".join([f"{counts}; {worst}", *self.complaints])


def events(harbour: Harbour) -> dict[str, Event]:
    """All of usage_event, by request id."""
    names = [field.name for field in dataclasses.fields(Event)]
    rows = harbour.rows(f"SELECT {', '.join(names)} FROM usage_event")
    return {row[0]: Event(**dict(zip(names, row, strict=True))) for row in rows}


def judge(calls: Sequence[Call], found: Mapping[str, Event], sent: Mapping[str, tuple[int, str]]) -> Verdict:
    """``calls`` as their clients saw them against the events ``found`` and what the engines have ``sent``."""
    verdict = Verdict()
    say = verdict.complaints.append
    names: dict[str, set[str]] = {}
    for call in calls:
        names.setdefault(call.request_id, set()).add(call.name)
    for request_id, sharing in names.items():
        if len(sharing) > 1:
            say(f"{request_id} was given to {len(sharing)} calls")
    for request_id in sent:
        if request_id not in found:
            say(f"{request_id} reached an engine and has no event: its open was never settled")
    billed = Counter(sent[each.request_id][1] for each in found.values() if each.output_tokens)
    for name, times in billed.items():
        if times > 1:
            say(f"call {name} is billed {times} times")
    for event in found.values():
        verdict.seen[f"event {event.outcome}"] += 1
        made, _ = sent.get(event.request_id, (0, ""))
        if event.output_tokens > made:
            say(f"{event} is billed above what the engine made: {made}")
        if event.input_tokens not in {0, PROMPT_TOKENS} or event.cached_tokens not in {0, CACHED_TOKENS}:
            say(f"{event} is billed a prompt that nobody sent")
        if event.is_disputed:
            say(f"{event} is disputed, and no engine has lied")
    for call in calls:
        _judge_call(call, found.get(call.request_id), verdict)
    return verdict


def _judge_call(call: Call, event: Event | None, verdict: Verdict) -> None:
    say = verdict.complaints.append
    if call.status == REPEATED:
        verdict.seen[f"refused {call.code}"] += 1
        if call.code == "already_answered" and (event is None or event.outcome != "completed"):
            say(f"{_short(call)} was told that it was answered, but {event}")
        elif call.code not in {"already_answered", "idempotency_key_in_use"}:
            say(f"{_short(call)} was told {call.code}")
        return
    if event is None:
        verdict.seen[f"refused {call.status} {call.code}"] += 1
        if call.received or call.status == 200:
            say(f"{_short(call)} has no event")
        if call.status < 500:
            say(f"{_short(call)} has a good key and a good body, and was told otherwise")
        return
    if call.is_complete:
        verdict.seen[f"complete {call.kind}"] += 1
        if (event.outcome, event.output_tokens) != ("completed", call.tokens) or call.received != call.tokens:
            say(f"{_short(call)} is complete, but {event}")
        if (event.input_tokens, event.cached_tokens, event.source) != (PROMPT_TOKENS, CACHED_TOKENS, "engine"):
            say(f"{_short(call)} is complete, but its prompt is not billed as the engine said: {event}")
        return
    verdict.seen[f"broken {call.kind}"] += 1
    if call.status >= 400:
        if event.output_tokens or event.input_tokens:
            say(f"{_short(call)} was refused and is billed: {event}")
        return
    if event.outcome == "gateway_lost":
        _judge_lost(call, event, verdict)
    elif event.outcome == "engine_failed" and call.has_error and event.output_tokens != call.received:
        say(f"{_short(call)} broke at its engine and got {call.received} tokens, but {event}")
    elif event.output_tokens < call.received:
        say(f"{_short(call)} got {call.received} tokens, but {event}")
    elif event.outcome == "completed" and event.output_tokens > call.received:
        # The gateway was killed between the durable close and the last byte.
        verdict.seen["billed, and its last bytes died with the gateway"] += 1


def _judge_lost(call: Call, event: Event, verdict: Verdict) -> None:
    """The gateway was killed: never one token too many, and of what came at most the last second for nothing."""
    if event.output_tokens > call.received and call.kind != "slow":
        verdict.complaints.append(f"{_short(call)} got {call.received} tokens of a killed gateway, but {event}")
    unbilled = call.arrivals[event.output_tokens :]
    if unbilled and call.kind != "cut":
        age = call.arrivals[-1] - unbilled[0]
        verdict.unbilled_seconds = max(verdict.unbilled_seconds, age)
        verdict.unbilled_tokens += len(unbilled)
        if age > UNBILLED_SECONDS + LATE_SECONDS:
            verdict.complaints.append(f"{_short(call)} got tokens for {age:.2f} s that {event} leaves out")


def judge_ledger(harbour: Harbour) -> list[str]:
    """What is wrong between usage_event, rated_usage and the ledger, to the pico-dollar."""
    complaints = []
    (owed, rated, receivable, revenue, unrated) = harbour.rows(
        """
        SELECT (SELECT coalesce(sum((e.input_tokens - e.cached_tokens)::numeric * i.pico_per_unit
                                    + e.cached_tokens::numeric * c.pico_per_unit
                                    + e.output_tokens::numeric * o.pico_per_unit), 0)
                  FROM usage_event e,
                       (SELECT pico_per_unit FROM price WHERE meter = 'input_tokens') i,
                       (SELECT pico_per_unit FROM price WHERE meter = 'cached_input_tokens') c,
                       (SELECT pico_per_unit FROM price WHERE meter = 'output_tokens') o),
               (SELECT coalesce(sum(amount_pico), 0) FROM rated_usage),
               (SELECT coalesce(sum(amount_pico), 0) FROM ledger_entry l JOIN ledger_account a ON a.id = l.account_id
                 WHERE a.kind = 'customer_receivable'),
               (SELECT coalesce(sum(amount_pico), 0) FROM ledger_entry l JOIN ledger_account a ON a.id = l.account_id
                 WHERE a.kind = 'revenue_usage'),
               (SELECT count(*) FROM unrated_usage)
        """
    )[0]
    if not owed == rated == receivable == -revenue:
        complaints.append(f"events are worth {owed}, rated {rated}, receivable {receivable}, revenue {revenue}")
    if unrated:
        complaints.append(f"{unrated} requests are not rated")
    doubled: list[Any] = harbour.rows(
        "SELECT source_id, meter FROM rated_usage GROUP BY source_id, meter HAVING count(*) > 1"
    )
    return complaints + [f"{row} is rated more than once" for row in doubled]


def _short(call: Call) -> str:
    return (
        f"{call.request_id} ({call.kind} of {call.tokens}, {call.model}, status {call.status}, error {call.has_error},"
        f" {len(call.arrivals)} arrived)"
    )
