"""The models that the settings name, in order of failover, and the built-in ones after them."""

import random
import secrets
from typing import Final

import aiohttp

from undercroft.chat.providers.anthropic import AnthropicProvider
from undercroft.chat.providers.budgets import Budgets
from undercroft.chat.providers.extractive import ExtractiveProvider
from undercroft.chat.providers.local import LocalLimits, LocalModelProvider, find_smollm2
from undercroft.chat.providers.openai_compatible import OpenAiCompatibleProvider
from undercroft.chat.providers.protocol import ModelProvider
from undercroft.chat.providers.registry import ModelRegistry
from undercroft.chat.providers.upstream import Upstream
from undercroft.kit.clock import Clock
from undercroft.kit.model_server_settings import UpstreamSettings
from undercroft.kit.settings import Settings

_LOCAL_CONTEXT: Final = 1024
"""The built-in model reads 126 tokens a second on one core: a longer prompt would keep its reader waiting."""


def open_models(settings: Settings, client: aiohttp.ClientSession, clock: Clock) -> ModelRegistry:
    """Every configured model. Nothing is asked or loaded before its first use."""
    providers = [_open(server, client, clock) for server in settings.model_servers()]
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


def _open(server: UpstreamSettings, client: aiohttp.ClientSession, clock: Clock) -> ModelProvider:
    upstream = Upstream(
        name=server.name,
        base_url=str(server.url).rstrip("/"),
        key=server.key,
        session=client,
        random=random.random,
        budgets=Budgets(),
        clock=clock,
    )
    if server.api == "anthropic":
        return AnthropicProvider(upstream, location=server.location, sees=server.sees)
    return OpenAiCompatibleProvider(
        upstream, location=server.location, continues=server.continues, sees=server.sees
    )
