"""What a repeated call gets, decided in memory; the register is a list."""

import pytest

from moorage.gateway.errors import AnsweredBefore, BadRequest, KeyReused, RetriesUnavailable, StillRunning
from moorage.gateway.idempotency import Claim, Idempotency, Then, verdict
from moorage.kernel.errors import PlatformError

PATH = "/v1/chat/completions"


class ListRegister:
    """Claims wait until the test answers for the database."""

    def __init__(self) -> None:
        self.asked: list[tuple[Claim, Then]] = []
        self.freed: list[str] = []

    def claim(self, claim: Claim, then: Then) -> None:
        self.asked.append((claim, then))

    def free(self, claim: Claim) -> None:
        self.freed.append(claim.request_id)

    def answer(self, refusal: PlatformError | None = None) -> None:
        _, then = self.asked.pop(0)
        then(refusal)


class Desk:
    """An Idempotency with its register, and calls made at it."""

    def __init__(self, **limits: float) -> None:
        self.register = ListRegister()
        self.idempotency = Idempotency(
            secret=b"a secret of the tests",
            register=self.register,
            **limits,  # type: ignore[arg-type]
        )
        self.told: list[PlatformError | None] = []

    def read(self, key: bytes = b"retry-1", *, by: str = "key_1", path: str = PATH, content: bytes = b"{}") -> Claim:
        return self.idempotency.read(key, key_id=by, path=path, content=content)

    def call(self, request_id: str = "req_1", **asked: object) -> Claim:
        claim = self.read(**asked)  # type: ignore[arg-type]
        assert self.idempotency.find(claim) is None
        self.idempotency.begin(claim, request_id=request_id, then=self.told.append)
        return claim

    def answered(self, *pieces: bytes, now: float = 0.0, **asked: object) -> Claim:
        claim = self.call(**asked)  # type: ignore[arg-type]
        self.register.answer()
        claim.status = 200
        for piece in pieces:
            self.idempotency.note(claim, piece)
        self.idempotency.end(claim, is_used=True, now=now)
        return claim


def test_a_repetition_gets_the_bytes_of_the_first_answer_under_its_request_id() -> None:
    desk = Desk()
    desk.answered(b"Tied", b" up")

    kept = desk.idempotency.find(desk.read())

    assert kept is not None
    assert (kept.request_id, kept.pieces) == ("req_1", [b"Tied", b" up"])
    assert desk.register.freed == []


def test_a_repetition_while_the_first_call_runs_is_told_to_come_again() -> None:
    desk = Desk()
    desk.call()

    with pytest.raises(StillRunning) as while_claiming:
        desk.idempotency.find(desk.read())
    desk.register.answer()
    with pytest.raises(StillRunning) as while_running:
        desk.idempotency.find(desk.read())

    assert while_claiming.value.request_id == while_running.value.request_id == "req_1"
    assert (while_running.value.status_code, while_running.value.retry_after) == (409, 1)


@pytest.mark.parametrize("other", [{"content": b"{ }"}, {"path": "/v1/completions"}])
def test_the_same_key_with_another_request_is_refused(other: dict[str, object]) -> None:
    desk = Desk()
    desk.answered(b"Tied")

    with pytest.raises(KeyReused):
        desk.idempotency.find(desk.read(**other))  # type: ignore[arg-type]


def test_another_api_key_has_idempotency_keys_of_its_own() -> None:
    desk = Desk()
    desk.answered(b"Tied")

    assert desk.idempotency.find(desk.read(by="key_2")) is None


def test_a_call_that_ended_with_nothing_billed_frees_its_key() -> None:
    desk = Desk()
    claim = desk.call()
    desk.register.answer()
    desk.idempotency.note(claim, b"an error")

    desk.idempotency.end(claim, is_used=False, now=0.0)

    assert desk.register.freed == ["req_1"]
    assert desk.idempotency.find(desk.read(content=b"another")) is None
    assert (len(desk.idempotency), desk.idempotency.kept_bytes) == (0, 0)


@pytest.mark.parametrize("refusal", [StillRunning(request_id="req_0"), KeyReused(), RetriesUnavailable()])
def test_what_the_register_refuses_is_told_and_forgotten_here(refusal: PlatformError) -> None:
    desk = Desk()
    desk.call()

    desk.register.answer(refusal)

    assert desk.told == [refusal]
    assert len(desk.idempotency) == 0


def test_a_client_that_leaves_before_its_claim_is_made_is_told_nothing_and_holds_nothing() -> None:
    desk = Desk()
    claim = desk.call()

    desk.idempotency.abandon(claim)
    desk.register.answer()

    assert desk.told == []
    assert desk.register.freed == ["req_1"]
    assert desk.idempotency.find(desk.read()) is None


def test_an_answer_that_is_too_long_is_not_kept_but_its_key_stays_used() -> None:
    desk = Desk(most_bytes_each=1000)
    desk.answered(b"x" * 500, b"y" * 500)

    # Only PostgreSQL knows it now.
    assert desk.idempotency.find(desk.read()) is None
    assert desk.register.freed == []
    assert desk.idempotency.kept_bytes == 0


def test_the_oldest_answers_make_room_and_running_ones_are_never_forgotten() -> None:
    desk = Desk(most_bytes=2400, most_bytes_each=1200)
    running = desk.call(key=b"running", request_id="req_running")
    desk.register.answer()
    desk.idempotency.note(running, b"r" * 500)
    desk.answered(b"1" * 900, key=b"first", request_id="req_first")
    desk.answered(b"2" * 900, key=b"second", request_id="req_second")

    assert desk.idempotency.find(desk.read(b"first")) is None
    assert desk.idempotency.find(desk.read(b"second")) is not None
    assert desk.idempotency.kept_bytes <= 2400
    with pytest.raises(StillRunning):
        desk.idempotency.find(desk.read(b"running"))


def test_answers_are_kept_for_their_time_only() -> None:
    desk = Desk(keep_seconds=600)
    desk.answered(b"Tied", now=100.0)

    desk.idempotency.tick(699.9)
    kept = desk.idempotency.find(desk.read())
    desk.idempotency.tick(700.0)

    assert kept is not None
    assert desk.idempotency.find(desk.read()) is None
    assert desk.idempotency.kept_bytes == 0


@pytest.mark.parametrize("value", [b"", b"x" * 256, b" x", b"x ", b"\xc3\xa9", b"a\tb"])
def test_a_key_that_is_not_printable_ascii_of_at_most_255_characters_is_refused(value: bytes) -> None:
    with pytest.raises(BadRequest):
        Desk().read(value)


@pytest.mark.parametrize("value", [b"x", b"x" * 255, b'"8e03978e-40d5-43e8-bc93-6894a57f9324"', b"a b"])
def test_other_keys_are_taken_as_they_are(value: bytes) -> None:
    assert Desk().read(value).id != Desk().read(value + b"!" if len(value) < 255 else b"y").id


def test_without_a_secret_the_header_is_refused_rather_than_ignored() -> None:
    idempotency = Idempotency(secret=b"", register=ListRegister())

    with pytest.raises(RetriesUnavailable):
        idempotency.read(b"x", key_id="key_1", path=PATH, content=b"{}")


def test_what_is_written_down_cannot_be_guessed_without_the_secret() -> None:
    here = Desk().read()
    elsewhere = Idempotency(secret=b"another secret", register=ListRegister()).read(
        b"retry-1", key_id="key_1", path=PATH, content=b"{}"
    )

    assert {here.id, here.digest}.isdisjoint({elsewhere.id, elsewhere.digest})


def test_a_holder_elsewhere_decides_what_the_client_is_told() -> None:
    claim = Desk().read()

    reused = verdict(claim, digest="another", request_id="req_0", is_answered=True)
    running = verdict(claim, digest=claim.digest, request_id="req_0", is_answered=False)
    answered = verdict(claim, digest=claim.digest, request_id="req_0", is_answered=True)

    assert [type(each) for each in (reused, running, answered)] == [KeyReused, StillRunning, AnsweredBefore]
    assert "req_0" in answered.message
