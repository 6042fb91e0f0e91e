"""Undercroft's command line, but for one thing: a model server may be silent for as long as an answer may take at all.

For ``bench_crowds.py``, whose model says nothing until all have come in: on a slow machine that takes minutes.
"""

from dataclasses import dataclass

from undercroft import cli
from undercroft.chat.providers import configured
from undercroft.chat.providers.budgets import Budgets

SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class PatientBudgets(Budgets):
    """What a model server may take."""

    first_token: float = SECONDS
    between_tokens: float = SECONDS


if __name__ == "__main__":
    configured.Budgets = PatientBudgets
    cli.main()
