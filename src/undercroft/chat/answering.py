"""One answer, from a question to its last citation: search, decide, prompt, generate, verify.

The service decides whether the documents hold an answer, and which citations stand; the model only writes.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final, TypeAlias

from undercroft.chat.calling import Answered, Calling, RoundEvent, Rounds
from undercroft.chat.citations import UNSUPPORTED_NOTE, Annotated, Citation, CitationAnnotator
from undercroft.chat.consumption import Consumption
from undercroft.chat.found import FilesRead, Searched, numbered
from undercroft.chat.given_files import uncited
from undercroft.chat.grounding import REFUSAL, ground
from undercroft.chat.prompt_builder import PromptBuilder
from undercroft.chat.providers.extractive import MODEL_ID as EXTRACTIVE
from undercroft.chat.providers.extractive import count_tokens
from undercroft.chat.providers.options import Ability, Options
from undercroft.chat.providers.protocol import (
    Finished,
    FinishReason,
    GenerationRequest,
    Message,
    Passage,
    ReasoningDelta,
    ReasoningEnded,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
    needed,
)
from undercroft.chat.providers.registry import ModelRegistry
from undercroft.chat.questions import FileSearch, Question
from undercroft.chat.shown import NOTHING, InterruptedAnswerError, Shown, leave_out
from undercroft.chat.tools.models import ToolCaller, ToolEvent, ToolsListed, ToolsWanted
from undercroft.kit.errors import InvalidRequestError, at_fault
from undercroft.kit.scope import Scope
from undercroft.retrieval.search.models import FoundPassage, SearchQuery
from undercroft.retrieval.search.service import SearchService
from undercroft.sharing.models import ModelUse, Release
from undercroft.sharing.watching import WatchedGrants

_UNCITED: Final = frozenset({Ability.JSON, Ability.LOGPROBS})
"""What an answer with citations is not: it is prose, and not the model's own tokens."""
_NOT_SEARCHED: Final = Searched("", (), ())


AnswerEvent: TypeAlias = Searched | FilesRead | RoundEvent | ToolEvent
"""At most one ``Searched`` or ``FilesRead`` first, then text and citations as they become certain and calls of the
client's functions and of remote tools, then exactly one ``Answered``."""


class Answerer:
    """Answers questions."""

    def __init__(self, search: SearchService, models: ModelRegistry, grants: WatchedGrants) -> None:
        self._search = search
        self._models = models
        self._prompts = PromptBuilder(models)
        self._grants = grants

    @property
    def default_model(self) -> str:
        """The model of a request that names none."""
        return self._models.default_model

    async def check(self, scope: Scope, question: Question) -> None:
        """Find out, before anything is promised, that the model can be asked and the collections searched.

        Raises:
            UndercroftError: When no provider offers the model, or none that does can do what is asked.
            NotFoundError: When the principal may see no such collection.
        """
        needs = needed(question.messages, question.options)
        if question.servers:
            needs |= {Ability.TOOLS}
        if question.files:
            needs |= {Ability.FILES}
        await self._models.require(question.model, needs)
        if question.search is not None:
            if uncited := needs & _UNCITED:
                raise InvalidRequestError(
                    "An answer from documents is text with citations. Leave this out, or the file_search.",
                    param=min(uncited).value,
                )
            with at_fault("tools"):
                await self._search.require_collections(scope, question.search.collection_ids)
        if question.files:
            with at_fault("input"):
                await self._search.require_documents(scope, question.files)

    def answer(
        self,
        scope: Scope,
        question: Question,
        earlier: Sequence[Release] = (),
        shown: Shown = NOTHING,
        tools: ToolCaller | None = None,
        consumption: Consumption | None = None,
    ) -> AsyncGenerator[AnswerEvent]:
        """Stream an answer. Closing the generator cancels the search or the generation behind it.

        Args:
            scope: Who asks.
            question: What.
            earlier: What its messages were made from, and what they stand in.
            shown: The beginning of the answer, where another process has shown one: what follows it is streamed.
            tools: Calls remote tools, where the question names servers of such.
            consumption: Counts what it takes.

        Raises:
            UndercroftError: When a collection is unknown, nothing can be searched or no model answers.
            AccessRevokedError: When something that the answer rests on is lost before the answer ends.
            InterruptedAnswerError: When the answer would not go on as it has begun.
        """
        counting = consumption or Consumption()
        said = self._answer(scope, question, earlier, shown, tools, counting)
        before = (Searched, FilesRead, ToolsWanted, ToolsListed)
        return said if shown == NOTHING else leave_out(shown, said, before=before)

    async def _answer(
        self,
        scope: Scope,
        question: Question,
        earlier: Sequence[Release],
        shown: Shown,
        tools: ToolCaller | None,
        consumption: Consumption,
    ) -> AsyncGenerator[AnswerEvent]:
        if shown.text.endswith(UNSUPPORTED_NOTE):
            # What follows the note is the end alone, and no model says that.
            raise InterruptedAnswerError
        searched = _NOT_SEARCHED
        releases = list(earlier)
        if question.search is not None:
            searched = await self._find(scope, question, question.search)
            yield searched
            releases += searched.releases()
            # Weighing sentences takes tens of milliseconds of processor time: not on the event loop.
            # With functions or files the answer may come from elsewhere, and what no passage supports is noted.
            may_answer = (
                question.has_functions
                or question.shows_files
                or await asyncio.to_thread(_may_answer, question, searched.passages)
            )
            if not may_answer:
                yield TextDelta(REFUSAL)
                usage = _refusal_usage(question)
                consumption.end(usage)
                yield Answered(FinishReason.STOP, usage)
                return
        elif question.files:
            read = FilesRead(await self._read_files(scope, question))
            yield read
            releases += read.releases()
            question = self._prompts.with_files(question, numbered(read.released))
        # The one that quotes says the same again; every other goes on from its own words.
        prefix = "" if question.model == EXTRACTIVE else shown.text
        if question.servers and tools is not None:
            generated = self._generate_in_rounds(
                scope, question, searched, prefix, releases, tools, consumption
            )
        else:
            generated = self._generate(scope, question, searched, prefix, consumption)
        async with aclosing(self._grants.guard(scope, releases, generated)) as events:
            async for event in events:
                yield event

    async def room_for_history(self, question: Question) -> int:
        """About how many tokens earlier turns may have beside a question and its answer."""
        return await self._prompts.room_for_history(question)

    async def model_use(self, question: Question) -> frozenset[ModelUse]:
        """What the model that is asked first will do with passages; the registry asks no other to do more."""
        if question.model == EXTRACTIVE:
            return frozenset({ModelUse.QUOTE})
        if await self._models.find_location(question.model) == "local":
            return frozenset({ModelUse.SUMMARISE})
        return frozenset({ModelUse.SUMMARISE, ModelUse.EXTERNAL})

    async def _find(self, scope: Scope, question: Question, search: FileSearch) -> Searched:
        use = await self.model_use(question)
        query = SearchQuery(
            search.collection_ids,
            question.text,
            search.limit,
            model_use=use,
            filter=search.filter,
            quality=search.quality,
        )
        result = await self._search.search(scope, query)
        found = tuple(passage for passage in result.passages if passage.score >= search.threshold)
        whole = await self._read_files(scope, question) if question.files else ()
        searched = Searched(question.text, found, (), whole)
        return replace(searched, passages=numbered(searched.released))

    async def _read_files(self, scope: Scope, question: Question) -> tuple[FoundPassage, ...]:
        use = await self.model_use(question)
        return tuple(await self._search.read_whole(scope, question.files, use))

    def _generate_in_rounds(
        self,
        scope: Scope,
        question: Question,
        searched: Searched,
        prefix: str,
        releases: Sequence[Release],
        tools: ToolCaller,
        consumption: Consumption,
    ) -> AsyncGenerator[AnswerEvent]:
        """Rounds of generation, with calls of remote tools between them. A beginning that there is is of the first."""

        def say(
            called: Sequence[Message], options: Options, most_tokens: int | None
        ) -> AsyncGenerator[RoundEvent]:
            following = replace(
                question,
                messages=(*question.messages, *called),
                options=options,
                max_output_tokens=most_tokens,
            )
            begun = "" if called else prefix
            return self._generate(scope, following, searched, begun, consumption)

        calling = Calling(
            question.servers,
            question.approved,
            question.options,
            question.max_tool_calls,
            question.max_output_tokens,
            question.reserved_tokens,
            releases,
        )
        return Rounds(calling, tools, say).run()

    async def _generate(
        self,
        scope: Scope,
        question: Question,
        searched: Searched,
        prefix: str,
        consumption: Consumption,
    ) -> AsyncGenerator[RoundEvent]:
        prompt = await self._prompts.build(question, searched.ranked, searched.beside)
        shown = (*prompt.passages, *uncited(prompt.attached))
        # Without passages there is nothing to prepare, and a thread would cost more than all of it.
        annotator = (
            await asyncio.to_thread(CitationAnnotator, question.text, shown)
            if shown
            else CitationAnnotator(question.text, ())
        )
        request = GenerationRequest(
            model=question.model,
            messages=prompt.messages,
            passages=prompt.passages,
            question=question.text,
            max_output_tokens=question.max_output_tokens,
            temperature=question.temperature,
            top_p=question.top_p,
            stop=question.stop,
            options=question.options,
            prefix=prefix,
            party=scope.tenant_id,
            is_confined=question.is_confined
            or any(not passage.may_leave for passage in prompt.passages),
        )
        finished = Finished(FinishReason.STOP, Usage(0, 0))
        for event in _spoken(annotator.feed(prefix)):
            yield event
        said_by_model = consumption.counted(question, prefix, self._models.generate(request))
        async with aclosing(said_by_model) as events:
            async for event in events:
                match event:
                    case Finished():
                        finished = event
                    case ToolCallDelta() | ReasoningDelta() | ReasoningEnded():
                        yield event
                    case TextDelta() if not shown:
                        # There is nothing to compare it with: it passes as it is.
                        yield event
                    case TextDelta(text, logprobs):
                        for said in _spoken(annotator.feed(text), logprobs):
                            yield said
        for event in _spoken(annotator.finish()):
            yield event
        if question.search is not None and _wants_note(finished, annotator, is_shown=bool(shown)):
            yield TextDelta(f"\n\n{UNSUPPORTED_NOTE}")
        yield Answered(finished.reason, finished.usage)


def _spoken(
    annotated: Annotated, logprobs: tuple[TokenLogprob, ...] = ()
) -> Iterator[TextDelta | Citation]:
    if annotated.text:
        yield TextDelta(annotated.text, logprobs)
    yield from annotated.citations


def _wants_note(finished: Finished, annotator: CitationAnnotator, *, is_shown: bool) -> bool:
    """Whether there is something in the answer that the documents do not support."""
    if finished.reason is FinishReason.TOOL_CALLS:
        return False
    return not is_shown or not annotator.support.complete


def _may_answer(question: Question, passages: tuple[Passage, ...]) -> bool:
    """Whether a model is asked at all. The extractive one makes the same decision itself, in the same words."""
    if not passages:
        return False
    return question.model == EXTRACTIVE or ground(question.text, passages).answerable


def _refusal_usage(question: Question) -> Usage:
    """No model ran; what the question and the refusal are long is still reported, marked as an estimate."""
    asked = sum(count_tokens(message.content) for message in question.messages)
    return Usage(asked, count_tokens(REFUSAL), estimated=True)
