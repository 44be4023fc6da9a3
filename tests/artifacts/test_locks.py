"""A lock file lets one in at a time, also while it is being removed and made again, and is gone afterwards."""

import threading
from pathlib import Path

from moorage.artifacts import locks


def test_one_at_a_time_and_no_file_is_left(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        for _ in range(200):
            with locks.held(path):
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(most) == 12 * 200
    assert max(most) == 1
    assert not path.exists()


def test_who_waited_for_a_removed_lock_takes_part_in_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    leave = threading.Event()
    waiting_is_in = threading.Event()

    def wait_for_it() -> None:
        with locks.held(path):
            waiting_is_in.set()
            assert path.exists()
            leave.wait(10)

    with locks.held(path):
        waiting = threading.Thread(target=wait_for_it)
        waiting.start()
        assert not waiting_is_in.wait(0.2)
    assert waiting_is_in.wait(10)

    newcomer_is_in = threading.Event()

    def come_now() -> None:
        with locks.held(path):
            newcomer_is_in.set()

    newcomer = threading.Thread(target=come_now)
    newcomer.start()
    assert not newcomer_is_in.wait(0.2)
    leave.set()
    assert newcomer_is_in.wait(10)
    waiting.join()
    newcomer.join()
