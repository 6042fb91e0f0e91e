"""In which language a text is, and how scripts without spaces are cut."""

import pytest

from undercroft.retrieval.languages import DICTIONARIES, find_dictionary
from undercroft.retrieval.segmentation import segment

SENTENCES = {
    "english": "The tenant pays a deposit of two months' rent before moving in.",
    "german": "Der Mieter zahlt vor dem Einzug eine Kaution in Höhe von zwei Monatsmieten.",
    "french": "Le locataire verse un dépôt de garantie de deux mois de loyer avant d'emménager.",
    "spanish": "El inquilino paga una fianza de dos meses antes de mudarse al nuevo piso.",
    "hungarian": "A bérlő a beköltözés előtt kéthavi bérleti díjnak megfelelő kauciót fizet.",
    "russian": "Арендатор вносит залог в размере двух месячных платежей до заселения.",
    "greek": "Πριν από την είσοδο στους ιδιοκτήτες καταβάλλεται εγγύηση δύο μηνών.",
    "hindi": "किरायेदार प्रवेश से पहले दो महीने का किराया जमा करता है।",
}


@pytest.mark.parametrize(("dictionary", "text"), SENTENCES.items())
def test_a_text_is_read_with_the_dictionary_of_its_language(dictionary: str, text: str) -> None:
    assert find_dictionary(text) == dictionary


@pytest.mark.parametrize(
    "text", ["Najemca płaci kaucję w wysokości dwóch miesięcy.", "借主は敷金を支払います。"]
)
def test_a_language_without_a_dictionary_keeps_its_words_as_they_are(text: str) -> None:
    assert find_dictionary(text) == "simple"


@pytest.mark.parametrize("text", ["", "1,2,3\n4,5,6\nINV-2024/0031; 22.5", "for x in xs:\n  y(x)"])
def test_what_does_not_tell_its_language_is_taken_for_english(text: str) -> None:
    assert find_dictionary(text) == "english"


def test_every_dictionary_is_one_that_postgresql_has_of_its_own() -> None:
    assert len(set(DICTIONARIES.values())) == 27
    assert all(name.isalpha() and name.islower() for name in DICTIONARIES.values())


@pytest.mark.parametrize(
    ("text", "spaced"),
    [
        ("Rent is due on the 1st.", "Rent is due on the 1st."),
        ("東京都", " 東京 京都 "),
        ("雨", " 雨 "),
        ("The 東京都 office", "The  東京 京都  office"),
        ("보증금을 낸다", " 보증 증금 금을   낸다 "),
    ],
)
def test_scripts_without_spaces_are_cut_into_pairs(text: str, spaced: str) -> None:
    assert segment(text) == spaced
