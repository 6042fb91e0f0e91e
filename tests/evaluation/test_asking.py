from uuid import UUID

from tests.evaluation.test_measure import passage
from undercroft.chat.citations import Citation
from undercroft.chat.grounding import REFUSAL
from undercroft.evaluation.asking import Outcome, judge_answer, sum_up
from undercroft.evaluation.questions import ExpectedAnswer

LEASE = ExpectedAnswer(
    "q1", "How much?", frozenset({"home/lease.pdf"}), ("12 µg/L",), ("is 12\nµg/L",), True
)
NOTHING = ExpectedAnswer("q2", "Who?", frozenset(), (), (), False)
TWINS = {"lease": ["copy.pdf", "home/lease.pdf"], "boat": ["boat.pdf"]}


def citation(filename: str) -> Citation:
    return Citation(1, UUID(int=1), filename, "quote", 0, 5, 0, 5, 0, 5)


def judge(expected: ExpectedAnswer, text: str, found: str = "", *cited: str) -> Outcome:
    return judge_answer(
        expected, text, [passage("lease", found)], [citation(name) for name in cited], TWINS
    )


def test_an_answer_is_right_when_it_contains_what_is_accepted_in_whatever_form() -> None:
    # A micro sign in the question set, a Greek letter and other spaces in the answer.
    right = judge(LEASE, "It is 12  \u03bcG/L.", "The value IS 12 µg/l", "lease", "boat")
    assert (right.is_right, right.finds_quote, right.is_refused) == (True, True, False)
    assert (right.citations, right.right_citations) == (2, 1)
    wrong = judge(LEASE, "It is 13 µg/L.", "The value was 12 µg/l")
    assert (wrong.is_right, wrong.finds_quote) == (False, False)


def test_only_a_refusal_is_right_where_there_is_no_answer() -> None:
    assert judge(NOTHING, f"{REFUSAL}\n").is_right
    assert not judge(NOTHING, f"Perhaps Ann. {REFUSAL}").is_right
    assert not judge(LEASE, REFUSAL).is_right


def test_shares_count_only_what_tells_them() -> None:
    figures = sum_up(
        [
            judge(LEASE, "12 µg/L", "", "lease", "boat", "lease"),
            judge(LEASE, REFUSAL),
            judge(NOTHING, REFUSAL, "", "boat"),
            judge(NOTHING, "Ann."),
        ]
    )
    found = {name: (ratio.count, ratio.of) for name, ratio in figures.items()}
    assert found == {
        "right": (2, 4),
        "answer_contained": (1, 2),
        "quote_found": (0, 2),
        "citation_precision": (2, 3),
        "unanswerable_refused": (1, 2),
        "answerable_refused": (1, 2),
    }
    assert sum_up([])["right"].share is None
