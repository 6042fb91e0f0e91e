"""The language model itself, on llama.cpp: several generations that take turns, one token each.

Runs in the child process only (:mod:`undercroft.chat.providers.local_process`); everything here blocks.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cyllama.llama import llama_cpp

from undercroft.chat.providers.local_text import TextAssembler, token_bytes
from undercroft.chat.providers.protocol import FinishReason, Message, Role

PREFILL_TOKENS: Final = 32
"""Prompt tokens read in one turn. More would make the other generations wait longer between tokens
(measured on one thread: 32 tokens take 0.3 to 0.5 s), and reading is hardly faster with 128."""

DEFAULT_SYSTEM_PROMPT: Final = (
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
)
"""What the model's own chat template says when the conversation has no system turn."""

_REPEAT_WINDOW: Final = 64
_REPEAT_PENALTY: Final = 1.1
_MIN_P: Final = 0.05


class PromptTooLongError(Exception):
    """The prompt leaves no room for an answer.

    Args:
        tokens: Its length.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__(f"The prompt has {tokens} tokens.")
        self.tokens = tokens


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: 0 takes the most likely token.
        top_p: Nucleus sampling; 1 keeps all.
        seed: Of the random choice; without effect at temperature 0.
    """

    temperature: float
    top_p: float
    seed: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn of a generation brought.

    Attributes:
        text: New text; often empty.
        finished: Why the generation is over, or None while it is not.
    """

    text: str = ""
    finished: FinishReason | None = None


class Engine:
    """A loaded model and the memory of its sequences.

    Each generation has a sequence of its own, with its own part of the key-value cache, and is decoded alone: what it
    says never depends on what runs beside it. (Decoding four together was 1.3 times faster in total, and would make
    the answer at temperature 0 depend on the load.)

    Args:
        path: The GGUF file.
        context_tokens: Prompt and answer together, in tokens, for each sequence.
        sequences: How many generations can be open at once.
        threads: Threads that compute.
    """

    def __init__(self, path: Path, *, context_tokens: int, sequences: int, threads: int) -> None:
        llama_cpp.disable_logging()
        llama_cpp.ggml_backend_load_all()
        model_parameters = llama_cpp.LlamaModelParams()
        model_parameters.n_gpu_layers = 0
        self._model = llama_cpp.LlamaModel(str(path), model_parameters)
        parameters = llama_cpp.LlamaContextParams()
        parameters.n_ctx = context_tokens * sequences
        parameters.n_seq_max = sequences
        parameters.n_batch = parameters.n_ubatch = PREFILL_TOKENS
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.kv_unified = False
        parameters.no_perf = True
        self.context_tokens = context_tokens
        self.vocabulary = self._model.get_vocab()
        self._context = llama_cpp.LlamaContext(self._model, parameters)
        self._batch = llama_cpp.LlamaBatch(n_tokens=PREFILL_TOKENS, embd=0, n_seq_max=1)
        self._free = list(range(sequences))

    def open(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling,
        max_output_tokens: int,
        stop: Sequence[str],
        prefix: str = "",
    ) -> "Generation":
        """Begins a generation, or goes on after its prefix. Costs nothing but tokenizing until its first turn.

        Raises:
            PromptTooLongError: There would be no room for a single token of answer.
        """
        prompt, begun = self.tokenize(messages), self._plain(prefix)
        if len(prompt) + len(begun) >= self.context_tokens:
            raise PromptTooLongError(len(prompt) + len(begun))
        room = self.context_tokens - len(prompt)
        return Generation(
            self,
            self._free.pop(),
            prompt,
            begun,
            sampler=_sampler(sampling),
            max_output_tokens=min(max_output_tokens, room),
            assembler=TextAssembler(stop),
        )

    def tokenize(self, messages: Sequence[Message]) -> list[int]:
        """The prompt in the model's chat format (ChatML).

        What people and documents say is never read as a control token: a passage that contains
        ``<|im_end|>`` cannot end its turn.
        """
        turns = list(messages)
        if not turns or turns[0].role is not Role.SYSTEM:
            turns.insert(0, Message(Role.SYSTEM, DEFAULT_SYSTEM_PROMPT))
        tokens: list[int] = []
        for turn in turns:
            tokens += self._control("<|im_start|>")
            tokens += self._plain(f"{turn.role.value}\n{turn.content}")
            tokens += self._control("<|im_end|>") + self._plain("\n")
        return tokens + self._control("<|im_start|>") + self._plain("assistant\n")

    def count(self, text: str) -> int:
        """How many tokens a text is in the midst of a prompt."""
        return len(self._plain(text))

    def decode(self, sequence: int, position: int, tokens: Sequence[int]) -> None:
        """Reads ``tokens`` into a sequence, the first of them at ``position``."""
        self._batch.clear()
        last = len(tokens) - 1
        for index, token in enumerate(tokens):
            self._batch.add(token, position + index, [sequence], index == last)
        self._context.decode(self._batch)

    def sample(self, sampler: llama_cpp.LlamaSampler) -> int:
        """The token to follow what was decoded last."""
        return sampler.sample(self._context, -1)

    def release(self, sequence: int) -> None:
        """Forgets a sequence and makes it free for another generation."""
        self._context.memory_seq_rm(sequence, -1, -1)
        self._free.append(sequence)

    def _control(self, text: str) -> list[int]:
        return self.vocabulary.tokenize(text, add_special=False, parse_special=True)

    def _plain(self, text: str) -> list[int]:
        return self.vocabulary.tokenize(text, add_special=False, parse_special=False)


class Generation:
    """One answer in the making; made by :meth:`Engine.open`, advanced turn by turn."""

    def __init__(
        self,
        engine: Engine,
        sequence: int,
        prompt: list[int],
        begun: Sequence[int],
        *,
        sampler: llama_cpp.LlamaSampler,
        max_output_tokens: int,
        assembler: TextAssembler,
    ) -> None:
        self._engine = engine
        self._sequence = sequence
        self._sampler = sampler
        self._max_output_tokens = max_output_tokens
        self._assembler = assembler
        self._pending = [*prompt, *begun]
        self._position = 0
        self._read = len(self._pending)
        for token in begun:
            # The penalty for repetition counts them as it did when they were written.
            sampler.accept(token)
        self.input_tokens = len(prompt)
        self.output_tokens = len(begun)
        self.output_seconds = 0.0

    def turn(self) -> Turn:
        """Reads the next piece of the prompt, or writes the next token."""
        began = time.perf_counter()
        piece, self._pending = self._pending[:PREFILL_TOKENS], self._pending[PREFILL_TOKENS:]
        self._engine.decode(self._sequence, self._position, piece)
        self._position += len(piece)
        if self._pending:
            return Turn()
        turn = self._write()
        if self._position > self._read:
            self.output_seconds += time.perf_counter() - began
        return turn

    def close(self) -> None:
        """Gives the sequence back. Must be called once."""
        self._engine.release(self._sequence)

    def _write(self) -> Turn:
        if self.output_tokens >= self._max_output_tokens:
            return Turn(self._assembler.finish(), FinishReason.LENGTH)
        token = self._engine.sample(self._sampler)
        if self._engine.vocabulary.is_eog(token):
            return Turn(self._assembler.finish(), FinishReason.STOP)
        self.output_tokens += 1
        self._pending = [token]
        text = "" if self._is_control(token) else self._assembler.feed(self._spell(token))
        if self._assembler.stopped:
            return Turn(text, FinishReason.STOP)
        if self.output_tokens >= self._max_output_tokens:
            return Turn(text + self._assembler.finish(), FinishReason.LENGTH)
        return Turn(text)

    def _is_control(self, token: int) -> bool:
        return self._engine.vocabulary.is_control(token)

    def _spell(self, token: int) -> bytes:
        return token_bytes(self._engine.vocabulary.get_text(token))


def _sampler(sampling: Sampling) -> llama_cpp.LlamaSampler:
    """The chain that chooses a token; the penalty keeps so small a model from repeating itself."""
    parameters = llama_cpp.LlamaSamplerChainParams()
    parameters.no_perf = True
    chain = llama_cpp.LlamaSampler(parameters)
    chain.add_penalties(_REPEAT_WINDOW, _REPEAT_PENALTY, 0.0, 0.0)
    if sampling.temperature == 0:
        chain.add_greedy()
        return chain
    chain.add_top_p(sampling.top_p, 1)
    chain.add_min_p(_MIN_P, 1)
    chain.add_temp(sampling.temperature)
    chain.add_dist(sampling.seed)
    return chain
