"""Photos side by side: in order, errors in their turn, and nobody else's threads changed."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from ulsad.compute.workers import in_parallel

pytestmark = pytest.mark.usefixtures("two_threads")


def test_results_come_in_order_and_two_at_a_time():
    both = threading.Barrier(2, timeout=10)

    def work(number: int) -> int:
        both.wait()  # passes only while two are at work
        time.sleep(0.02 * (number % 2 == 0))
        return number

    assert list(in_parallel(work, range(8))) == list(range(8))


def test_each_works_with_one_core_and_everybody_else_with_all():
    cores, found = torch.get_num_threads(), []
    assert set(in_parallel(lambda _: torch.get_num_threads(), range(4))) == {1}
    other = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert [torch.get_num_threads(), *found] == [cores, cores]


def test_a_single_item_gets_all_cores():
    assert list(in_parallel(lambda _: torch.get_num_threads(), [0])) == [torch.get_num_threads()]
    assert list(in_parallel(abs, [])) == []


def test_work_within_work_does_not_wait_for_itself():
    def row(number: int) -> list[int]:
        return list(in_parallel(lambda other: number * other, range(5)))

    assert list(in_parallel(row, range(6))) == [[a * b for b in range(5)] for a in range(6)]


def test_an_error_is_raised_when_its_turn_comes():
    results = in_parallel(lambda number: 6 // number, [3, 2, 0, 1])
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_who_stops_asking_ends_the_work():
    begun = []

    def work(number: int) -> None:
        begun.append(number)
        time.sleep(0.01)

    results = in_parallel(work, range(1000))
    next(results)
    results.close()
    time.sleep(0.1)
    assert len(begun) < 20
