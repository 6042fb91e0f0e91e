"""Texts that UTF-8 can carry."""


def join_surrogates(text: str) -> str:
    """The text with surrogates joined where they pair and replaced by U+FFFD where they do not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
