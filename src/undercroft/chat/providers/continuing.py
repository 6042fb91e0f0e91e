"""An answer that breaks off, and goes on from where it was. Pure."""

from collections import deque
from dataclasses import replace

from undercroft.chat.providers.options import Ability
from undercroft.chat.providers.protocol import (
    GenerationEvent,
    GenerationRequest,
    ModelProvider,
    ReasoningDelta,
    ReasoningEnded,
    TextDelta,
    ToolCallDelta,
)


class Course:
    """Who is still to be asked for one answer, and for what of it.

    Before the first event that is all of it, and every provider. Afterwards whoever can go on after a given beginning
    is asked for the rest of the text, also the one that failed, once more: its server may have been restarted.

    Args:
        request: The whole of it.
        providers: Who is asked, in this order.
    """

    def __init__(self, request: GenerationRequest, providers: tuple[ModelProvider, ...]) -> None:
        self._request = request
        self._left = deque(providers)
        self._asked_again: set[str] = set()
        self._text: list[str] = []
        self._is_text = True
        self.is_begun = False

    def next(self) -> ModelProvider | None:
        """Who is asked next; None when there is nobody."""
        while self._left:
            provider = self._left.popleft()
            if not self.is_begun or Ability.CONTINUE in provider.abilities:
                return provider
        return None

    def request(self, seconds: float) -> GenerationRequest:
        """What is to be generated now, in so many seconds."""
        prefix = self._request.prefix + "".join(self._text)
        return replace(self._request, prefix=prefix, seconds=seconds)

    def add(self, event: GenerationEvent) -> None:
        """This was generated."""
        self.is_begun = True
        match event:
            case TextDelta(text):
                self._text.append(text)
            case ToolCallDelta() | ReasoningDelta() | ReasoningEnded():
                self._is_text = False
            case _:
                pass

    def can_go_on_after(self, provider: ModelProvider) -> bool:
        """Whether the answer can go on at all, now that this provider failed; if so, with whom is decided too.

        Arguments of a call are not continued: no model is sure to write the rest that fits. Nor are thoughts, or what
        follows from them, which only who had them knows; nor JSON that is held to its form as a whole.
        """
        if not self.is_begun:
            return True
        if not self._is_text or self._request.options.output is not None:
            return False
        if provider.name not in self._asked_again:
            self._asked_again.add(provider.name)
            self._left.appendleft(provider)
        return any(Ability.CONTINUE in each.abilities for each in self._left)
