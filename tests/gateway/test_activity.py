"""What a worker counts of a route for the control plane: queues, busy times, full caches."""

import asyncio
import types
from pathlib import Path
from typing import Any

import msgspec

from moorage.gateway import kv_usage
from moorage.gateway.activity import Activity, RouteActivity
from moorage.gateway.busy_times import BusyTimes
from moorage.wire.records import ReplicaAddress
from tests.gateway.rush_hour import route_of

SECOND = 1_000_000
METRICS = """# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.625
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.25
vllm:num_requests_running{engine="0",model_name="m"} 3.0
"""


def test_a_queue_that_begins_or_doubles_is_worth_telling() -> None:
    activity = RouteActivity()

    told = [activity.waits(f"req_{number}") for number in range(8)]

    assert told == [True, False, True, False, False, False, True, False]
    assert activity.waiting == 8


def test_a_queue_that_begins_again_and_again_is_told_of_now_and_then() -> None:
    activity = RouteActivity()
    told = []
    for number in range(3):
        told.append(activity.waits(f"req_{number}"))
        activity.waits_no_more(f"req_{number}")
        activity.told_waiting = 0  # as after a report

    assert told == [True, False, False]
    assert activity.waiting == 0


def test_the_oldest_says_how_long_the_queue_is() -> None:
    activity = RouteActivity()
    assert activity.queue_us() is None

    activity.waits("first")
    activity.waiting_since["first"] -= 5 * SECOND
    activity.waits("second")
    first = activity.queue_us()
    activity.waits_no_more("first")
    second = activity.queue_us()

    assert first is not None and 5 * SECOND <= first < 60 * SECOND
    assert second is not None and second < 5 * SECOND


def test_ranges_of_busy_time_close_short_gaps_and_keep_the_last_ones() -> None:
    times = BusyTimes()
    for begin, end in ((0, 1), (1.2, 2), (5, 6)):
        times.began(int(begin * SECOND))
        times.ended(int(end * SECOND))
    assert times.ranges == [[0, 2 * SECOND], [5 * SECOND, 6 * SECOND]]

    for number in range(10, 1010):
        times.began(number * SECOND)
        times.ended(number * SECOND + 1)

    assert len(times.ranges) == 128
    assert times.ranges[-1][0] == 1009 * SECOND


def test_a_clock_that_goes_back_makes_no_range_longer() -> None:
    times = BusyTimes()
    times.began(10 * SECOND)
    times.ended(12 * SECOND)
    times.began(3 * SECOND)
    times.ended(2 * SECOND)

    assert times.ranges == [[10 * SECOND, 12 * SECOND], [3 * SECOND, 3 * SECOND]]


def test_a_replica_is_busy_while_it_has_a_request() -> None:
    activity = RouteActivity()
    activity.began("rep_a")
    activity.began("rep_a")
    activity.ended("rep_a")

    (first,) = activity.busy_document()["rep_a"]
    begun, until = first
    activity.ended("rep_a")
    (last,) = activity.busy_document()["rep_a"]

    assert begun <= until <= last[1]
    assert last[0] == begun
    assert not activity.busy["rep_a"].is_on


def test_the_fullest_cache_of_an_engine_counts() -> None:
    assert kv_usage.parse(METRICS) == 0.625
    assert kv_usage.parse("vllm:gpu_cache_usage_perc 1.5") == 1.0
    assert kv_usage.parse("llamacpp:prompt_tokens_total 5") is None


def test_busy_engines_are_asked_for_their_caches(short_tmp: Path) -> None:
    asyncio.run(_ask(short_tmp))


async def _ask(short_tmp: Path) -> None:
    socket = short_tmp / "a.sock"
    body = METRICS.encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, str(socket))
    addresses = (("rep_a", socket), ("rep_gone", short_tmp / "none.sock"))
    replicas = tuple(ReplicaAddress(id=name, socket=str(path)) for name, path in addresses)
    route = msgspec.structs.replace(route_of(), engine="vllm", replicas=replicas)
    parts: Any = types.SimpleNamespace(routes=[route], activity=Activity())
    activity = parts.activity.arrived(route, 0)
    for replica_id in ("rep_a", "rep_gone"):
        activity.began(replica_id)

    await kv_usage.look(parts)
    server.close()

    assert activity.kv_used == {"rep_a": 0.625}
