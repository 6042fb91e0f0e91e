import pytest

from tests.clocks import SetClock
from undercroft.evaluation.progress import ProgressReport


def test_a_log_gets_a_line_for_each_tenth_of_a_phase(capsys: pytest.CaptureFixture[str]) -> None:
    clock = SetClock()
    report = ProgressReport(clock, None)
    report.phase("Indexing", 1000, done=500)
    for done in range(501, 1001):
        clock.seconds += 0.1
        report.update(done)
    written = capsys.readouterr()
    assert written.out == ""
    lines = written.err.splitlines()
    assert lines[0] == "Indexing: 500 of 1,000"
    assert lines[1] == "Indexing: 600 of 1,000, 10.0/s"
    assert [line.split()[1] for line in lines] == ["500", "600", "700", "800", "900", "1,000"]
