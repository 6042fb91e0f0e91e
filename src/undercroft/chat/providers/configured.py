"""The models that the settings name, in order of failover, and the built-in ones after them."""

import random
import secrets
from typing import Final

import aiohttp

from undercroft.chat.providers.extractive import ExtractiveProvider
from undercroft.chat.providers.local import LocalLimits, LocalModelProvider, find_smollm2
from undercroft.chat.providers.openai_compatible import OpenAiCompatibleProvider
from undercroft.chat.providers.protocol import ModelProvider
from undercroft.chat.providers.registry import ModelRegistry
from undercroft.kit.clock import Clock
from undercroft.kit.settings import Settings

_LOCAL_CONTEXT: Final = 1024
"""The built-in model reads 126 tokens a second on one core: a longer prompt would keep its reader waiting."""


def open_models(settings: Settings, client: aiohttp.ClientSession, clock: Clock) -> ModelRegistry:
    """Every configured model. Nothing is asked or loaded before its first use."""
    providers: list[ModelProvider] = [
        OpenAiCompatibleProvider(
            name=upstream.name,
            base_url=str(upstream.url).rstrip("/"),
            key=upstream.key,
            location=upstream.location,
            session=client,
            random=random.random,
            clock=clock,
        )
        for upstream in settings.model_servers()
    ]
    weights = find_smollm2()
    if weights is not None:
        providers.append(
            LocalModelProvider(
                weights,
                seeds=lambda: secrets.randbits(31),
                limits=LocalLimits(
                    context_tokens=_LOCAL_CONTEXT, waiting=settings.local_model_queue
                ),
                threads=settings.local_model_threads,
                clock=clock,
            )
        )
    providers.append(ExtractiveProvider())
    return ModelRegistry(providers, default_model=settings.default_model, clock=clock)
