"""The bill of a screen in a cloud is the arithmetic of docs/cluster.md."""

from __future__ import annotations

import pytest

from benchmarks.scaling.cloud_cost import Bill, Prices, Requests, bill, core_seconds

PRICES = Prices(
    vcpus_per_node=10,
    vcpu_hour=0.1,
    head_hour=0.5,
    vcpus_per_core=2,
    start=1000.0,
    idle=600.0,
    put=0.01,
    get=0.001,
)


def test_a_bill_is_work_start_and_idle_time_of_nodes_and_requests():
    # 10,000 crystals of 1 s of a core are 20,000 s of a vCPU, 2,000 s on ten of them; an hour in all
    found = bill(10_000, 1, 1.0, PRICES, Requests(rows=100, puts=2, gets=5))
    assert found == Bill(2000.0, *(pytest.approx(part) for part in (1.0, 0.5, 100 * 0.025)))
    assert found.total == pytest.approx(4.0)


def test_ten_times_the_nodes_pay_ten_times_for_starting():
    one, ten = (bill(10_000, nodes, 1.0, PRICES) for nodes in (1, 10))
    assert ten.work == one.work / 10
    assert ten.nodes - one.nodes == pytest.approx(9 * 1600 / 3600)
    assert ten.requests == one.requests


def test_the_time_of_a_crystal_is_that_of_all_cores(tmp_path):
    measured = tmp_path / "cost.json"
    measured.write_text(
        '{"machine": {"cpus": 4}, "screen": {"seconds": {"with trust": [1, 2, 9]},'
        ' "counts": {"rows_in": 1000}}}'
    )
    assert core_seconds(measured) == 2 * 4 / 1000
