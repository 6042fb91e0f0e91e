"""A server that fails is left in peace, tried by one call, and taken back; with a clock that stands still."""

import pytest

from tests.clocks import SetClock
from undercroft.kit.circuit import Circuit, CircuitState


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def circuit(clock: SetClock) -> Circuit:
    return Circuit(clock, failures=3, rest_seconds=30)


def call(circuit: Circuit) -> int:
    passed = circuit.enter()
    assert passed is not None
    return passed


def fail(circuit: Circuit, times: int = 1) -> None:
    for _ in range(times):
        passed = call(circuit)
        circuit.fail(passed)
        circuit.leave(passed)


def test_some_failures_in_a_row_open_it(circuit: Circuit) -> None:
    fail(circuit, 2)
    assert circuit.state is CircuitState.CLOSED
    fail(circuit)
    assert circuit.state is CircuitState.OPEN
    assert circuit.enter() is None
    assert circuit.seconds_left == 30


def test_an_answer_between_them_begins_the_count_anew(circuit: Circuit) -> None:
    fail(circuit, 2)
    circuit.succeed(call(circuit))
    fail(circuit, 2)
    assert circuit.state is CircuitState.CLOSED


def test_a_call_that_only_left_counts_for_nothing(circuit: Circuit) -> None:
    fail(circuit, 2)
    circuit.leave(call(circuit))
    fail(circuit)
    assert circuit.state is CircuitState.OPEN


def test_after_its_rest_one_call_goes_through(circuit: Circuit, clock: SetClock) -> None:
    fail(circuit, 3)
    clock.seconds = 29.5
    assert circuit.enter() is None
    assert circuit.seconds_left == 1
    clock.seconds = 30
    assert circuit.state is CircuitState.HALF_OPEN
    probe = call(circuit)
    assert circuit.enter() is None
    circuit.succeed(probe)
    assert circuit.state is CircuitState.CLOSED
    assert [circuit.enter(), circuit.enter()] == [probe, probe]
    fail(circuit, 2)
    assert circuit.state is CircuitState.CLOSED


def test_a_probe_that_fails_opens_it_for_as_long_again(circuit: Circuit, clock: SetClock) -> None:
    fail(circuit, 3)
    clock.seconds = 31
    fail(circuit)
    assert circuit.state is CircuitState.OPEN
    clock.seconds = 60
    assert circuit.enter() is None
    clock.seconds = 61
    assert circuit.enter() is not None


def test_a_probe_that_has_begun_lets_others_in_and_may_still_break_off(
    circuit: Circuit, clock: SetClock
) -> None:
    fail(circuit, 3)
    clock.seconds = 30
    probe = call(circuit)
    circuit.begin(probe)
    assert circuit.state is CircuitState.CLOSED
    circuit.fail(probe)
    assert circuit.state is CircuitState.OPEN


def test_a_probe_that_tells_nothing_makes_room_for_another(
    circuit: Circuit, clock: SetClock
) -> None:
    fail(circuit, 3)
    clock.seconds = 30
    circuit.leave(call(circuit))
    assert circuit.state is CircuitState.HALF_OPEN
    circuit.succeed(call(circuit))
    assert circuit.state is CircuitState.CLOSED


def test_calls_from_before_it_opened_say_nothing_any_more(
    circuit: Circuit, clock: SetClock
) -> None:
    late = [call(circuit) for _ in range(3)]
    fail(circuit, 3)
    clock.seconds = 10
    circuit.fail(late[0])
    circuit.succeed(late[1])
    circuit.leave(late[1])
    assert circuit.state is CircuitState.OPEN
    clock.seconds = 30
    assert circuit.state is CircuitState.HALF_OPEN
    probe = call(circuit)
    circuit.fail(late[2])
    circuit.leave(late[2])
    assert circuit.enter() is None
    circuit.succeed(probe)
    assert circuit.state is CircuitState.CLOSED


def test_those_that_fail_together_open_it_once(circuit: Circuit, clock: SetClock) -> None:
    together = [call(circuit) for _ in range(5)]
    for passed in together:
        circuit.fail(passed)
        clock.seconds += 1
    assert circuit.seconds_left == 27
