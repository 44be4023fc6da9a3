"""Idempotency claims in a real PostgreSQL, as two workers and a later boot meet there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from moorage.gateway.claims import ClaimRegister
from moorage.gateway.errors import AnsweredBefore, KeyReused, RetriesUnavailable, StillRunning
from moorage.gateway.idempotency import Claim
from moorage.kernel.errors import PlatformError
from moorage.metering import usage_table
from moorage.metering.copy_rows import CopyRows
from tests.wire.events import event


@contextlib.asynccontextmanager
async def worker(database_url: str, boot_id: str = "gw_1") -> AsyncIterator[ClaimRegister]:
    register = ClaimRegister(database_url=database_url, boot_id=boot_id)
    task = asyncio.get_running_loop().create_task(register.run())
    try:
        yield register
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def use(key: str = "a", body: str = "b", request_id: str = "req_1") -> Claim:
    claim = Claim(key, body)
    claim.request_id = request_id
    return claim


async def told(register: ClaimRegister, claim: Claim) -> PlatformError | None:
    """What the register says to ``claim``."""
    answer: asyncio.Future[PlatformError | None] = asyncio.get_running_loop().create_future()
    register.claim(claim, answer.set_result)
    async with asyncio.timeout(20):
        return await answer


def rows(database_url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute("SELECT id, request_id, boot_id FROM idempotency_claim ORDER BY id").fetchall()


def ship(request_id: str, *, tokens: int, outcome: str, finished_boot: str | None = None) -> None:
    ended = event(request_id=request_id, input_tokens=tokens, cached_tokens=0, output_tokens=0, outcome=outcome)
    usage_table.put_batch(CopyRows().batch([ended]), finished_boot=finished_boot)


def second(
    database_url: str, claim: Claim, *, after: Claim | None = None, ended: tuple[int, str] | None = None
) -> PlatformError | None:
    """What a worker says to ``claim`` after another one made the first and the usage event ``ended`` came of it."""

    async def both() -> PlatformError | None:
        async with worker(database_url) as one, worker(database_url, "gw_2") as other:
            assert await told(one, after or use()) is None
            if ended is not None:
                await asyncio.to_thread(ship, "req_1", tokens=ended[0], outcome=ended[1])
            return await told(other, claim)

    return asyncio.run(both())


def test_a_claim_holds_for_all_workers(database_url: str) -> None:
    refusal = second(database_url, use(request_id="req_2"))

    assert isinstance(refusal, StillRunning)
    assert refusal.request_id == "req_1"
    assert rows(database_url) == [("a", "req_1", "gw_1")]


def test_another_body_under_the_same_key_is_refused_by_all_workers(database_url: str) -> None:
    assert isinstance(second(database_url, use(body="c", request_id="req_2")), KeyReused)


@pytest.mark.parametrize("ended", [(15, "client_gone"), (15, "gateway_lost"), (0, "completed")])
def test_what_was_billed_or_completed_elsewhere_is_told_with_its_request_id(
    database_url: str, ended: tuple[int, str]
) -> None:
    refusal = second(database_url, use(request_id="req_2"), ended=ended)

    assert isinstance(refusal, AnsweredBefore)
    assert refusal.request_id == "req_1"


@pytest.mark.parametrize("body", ["b", "c"])
def test_what_ended_with_nothing_billed_is_free_for_any_request(database_url: str, body: str) -> None:
    refusal = second(database_url, use(body=body, request_id="req_2"), ended=(0, "gateway_lost"))

    assert refusal is None
    assert rows(database_url) == [("a", "req_2", "gw_2")]


def test_a_freed_key_can_be_claimed_at_once(database_url: str) -> None:
    async def free_and_claim() -> PlatformError | None:
        async with worker(database_url) as register:
            assert await told(register, use()) is None
            register.free(use())
            return await told(register, use(request_id="req_2"))

    assert asyncio.run(free_and_claim()) is None
    assert rows(database_url) == [("a", "req_2", "gw_1")]


def test_freeing_late_does_not_take_the_key_from_its_next_holder(database_url: str) -> None:
    async def free_late() -> None:
        async with worker(database_url) as register:
            assert await told(register, use(request_id="req_2")) is None
            register.free(use(request_id="req_1"))
            assert await told(register, use("z")) is None

    asyncio.run(free_late())

    assert ("a", "req_2", "gw_1") in rows(database_url)


def test_a_claims_day_ends(database_url: str) -> None:
    async def claim_again_a_day_later() -> PlatformError | None:
        async with worker(database_url) as register:
            assert await told(register, use()) is None
            with psycopg.connect(database_url) as connection:
                connection.execute("UPDATE idempotency_claim SET expires_at = now()")
            return await told(register, use(body="c", request_id="req_2"))

    assert asyncio.run(claim_again_a_day_later()) is None


def test_old_claims_are_swept(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO idempotency_claim SELECT n::text, '', '', '', now(), now() - interval '1 second'"
            " FROM generate_series(1, 50) AS n"
        )

    async def claim() -> None:
        async with worker(database_url) as register:
            await told(register, use())
            await told(register, use("z"))

    asyncio.run(claim())

    assert [row[0] for row in rows(database_url)] == ["a", "z"]


def test_many_claims_at_once_are_each_answered(database_url: str) -> None:
    async def claim_all() -> list[PlatformError | None]:
        async with worker(database_url) as one, worker(database_url, "gw_2") as other:
            asked = [
                told(register, use(str(n), request_id=f"req_{n}")) for n in range(2500) for register in (one, other)
            ]
            return list(await asyncio.gather(*asked))

    answers = asyncio.run(claim_all())

    assert answers.count(None) == len(rows(database_url)) == 2500
    assert all(isinstance(each, StillRunning) for each in answers if each is not None)


def test_without_the_database_a_claim_is_refused_soon_and_leaves_nothing(short_tmp: Path) -> None:
    async def claim() -> PlatformError | None:
        async with worker(f"postgresql://nobody@/none?host={short_tmp}") as register:
            return await told(register, use())

    refusal = asyncio.run(claim())

    assert isinstance(refusal, RetriesUnavailable)
    assert (refusal.status_code, refusal.retry_after) == (503, 2)


def test_a_dead_gateways_claims_are_free_unless_something_came_of_them(database_url: str) -> None:
    held = [use("lost", request_id="req_1"), use("answered", request_id="req_2")]
    living = use("of a living one", request_id="req_3")

    async def claim() -> list[PlatformError | None]:
        async with worker(database_url, "gw_1") as one, worker(database_url, "gw_2") as other:
            assert [await told(one, each) for each in held] == [None, None]
            assert await told(other, living) is None
            await asyncio.to_thread(ship, "req_2", tokens=15, outcome="completed", finished_boot="gw_1")
            asked = [use(each.id, request_id=f"req_{number}") for number, each in enumerate([*held, living], start=4)]
            return [await told(other, each) for each in asked]

    lost, answered, of_a_living_one = asyncio.run(claim())

    assert lost is None
    assert isinstance(answered, AnsweredBefore)
    assert isinstance(of_a_living_one, StillRunning)
    assert ("lost", "req_4", "gw_2") in rows(database_url)
