"""Which of the titles above a passage show to whoever sees it under grants of parts."""

from collections.abc import Sequence

from undercroft.sharing.models import Parts, Way


def shown_titles(way: Way, headings: Sequence[str]) -> tuple[str, ...]:
    """Those from a shared one on, as the others stand in parts that are not shared.

    None when it is shared by its pages, for where the titles stand is not known.
    """
    return tuple(headings[max(_depths(way, headings), default=0) :])


def hidden_beginning(way: Way, text: str, headings: Sequence[str], starts: Sequence[int]) -> int:
    """How many characters of a text's beginning do not show: what stands before the line of the title that is shared.

    Args:
        way: What it is shown under.
        text: Of one section, behind titles that have no text of their own; or of one and those below it.
        headings: The titles above it.
        starts: Where in the text the line of each begins, before it or behind it for one that stands there. What a
            title's line says is no measure: Markdown writes links, images and entities into it. Nothing where it is not
            known; then all is hidden, as there may be titles in it that are not shared.
    """
    depths = [each for each in _depths(way, headings) if each < len(headings)]
    shared = max(depths, default=0)
    if not depths or (shared == 0 and not starts):
        return 0
    hidden = min(max(starts[shared], 0), len(text)) if starts else len(text)
    return len(text) - len(text[hidden:].lstrip()) if hidden else 0


def words_in_parts(way: Way, text: str, headings: Sequence[str]) -> str | None:
    """What a text that shows under grants of parts has of words: its own, and those of the titles that show.

    Args:
        way: What it is shown under.
        text: What of it shows.
        headings: The titles above it.

    Returns:
        None where it shows with all titles, and so with all words that the index has of it.
    """
    if all(grant.parts is None for grant in way.grants):
        return None
    return "\n".join((*shown_titles(way, headings), text))


def _depths(way: Way, headings: Sequence[str]) -> list[int]:
    return [_depth(grant.parts, headings) for grant in way.grants if grant.parts is not None]


def _depth(parts: Parts, headings: Sequence[str]) -> int:
    """How many titles are above the first one that is shared; all of them when none is."""
    shared = (at for at, heading in enumerate(headings) if heading in parts.sections)
    return next(shared, len(headings))
