"""From a model's tokens to text that may be shown: whole characters, and nothing of a stop string.

Pure, so that both rules are tested without a model.
"""

import codecs
from collections.abc import Sequence
from typing import Final


def _byte_alphabet() -> dict[str, int]:
    """How a byte-level BPE vocabulary spells bytes: printable ones as themselves, others from U+0100.

    The scheme of GPT-2's tokenizer, which SmolLM2 shares.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in set(printable)]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet.update({chr(0x100 + index): byte for index, byte in enumerate(others)})
    return alphabet


_BYTE_OF: Final = _byte_alphabet()


def token_bytes(spelling: str) -> bytes:
    """The bytes behind a token as its vocabulary spells it.

    The binding's own ``token_to_piece`` decodes each token alone, which turns a character that is split over tokens
    into several U+FFFD.
    """
    return bytes(_BYTE_OF[character] for character in spelling)


class TextAssembler:
    """Joins token bytes to text, holding back what may yet become a stop string.

    Args:
        stop: Texts that end the generation. None may be empty.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._stop = tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self.stopped = False

    def feed(self, data: bytes) -> str:
        """The text that has become certain; empty while a character or a stop string is incomplete.

        After a stop string was met, ``stopped`` is true and what follows is ignored.
        """
        if self.stopped:
            return ""
        text = self._held + self._decoder.decode(data)
        found = [position for stop in self._stop if (position := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)]
        certain = len(text) - self._pending(text)
        self._held = text[certain:]
        return text[:certain]

    def finish(self) -> str:
        """What was held back for a stop string that did not come. Half a character is dropped."""
        held, self._held = self._held, ""
        return held

    def _pending(self, text: str) -> int:
        """How many of the last characters could be the beginning of a stop string."""
        longest = max((len(stop) - 1 for stop in self._stop), default=0)
        for length in range(min(longest, len(text)), 0, -1):
            tail = text[-length:]
            if any(stop.startswith(tail) for stop in self._stop):
                return length
        return 0
