"""A history that touches each clause by which records, field by field, and conversations are read."""

from dataclasses import replace

from tests.sharing.model.grants import EVERYONE
from tests.sharing.model.parts import Offer
from tests.sharing.twin.tenant import Twin


async def read(twin: Twin) -> None:
    """Select, share on, agree, expire, revoke; both worlds are compared at every station."""
    await _select_fields(twin)
    await _share_what_is_personal(twin)
    await _read_what_was_said(twin)


def _read(*fields: str) -> Offer:
    """To read these fields of a record; without any, all there is."""
    return Offer(frozenset({"read"}), fields=frozenset(fields) or None)


def _share(*fields: str) -> Offer:
    """To share these fields on as well."""
    return replace(_read(*fields), actions=frozenset({"read", "share"}))


async def _select_fields(twin: Twin) -> None:
    """Each grant of a record adds the fields that it selects, and none shows more than what it derives from."""
    hour = twin.model.hour
    assert not await twin.share("ann", "plan", "bob", _read("/name"))
    assert not await twin.share("bob", "form", "ann", Offer(frozenset({"download"})))
    some = await twin.share(
        "bob", "form", "ann", replace(_share("/health", "/name"), ends=hour + 3)
    )
    assert some
    assert await twin.share("ann", "form", "cem", _share("/health/blood"))
    assert await twin.share("ann", "form", "dee", _read())
    assert not await twin.share("ann", "form", "cem", _read("/healthy"))
    assert not await twin.share("cem", "form", "dee", _read("/health"))
    assert await twin.share("bob", "form", "cem", replace(_read("/healthy"), purpose="audit"))
    assert await twin.share("bob", "form", EVERYONE, replace(_read("/name"), begins=hour + 1))
    await twin.check()
    await twin.pass_hours()
    await twin.check()
    await twin.pass_hours(2)
    await twin.check()
    every = await twin.share("bob", "form", "ann", _share())
    assert every
    assert await twin.share("ann", "form", "dee", _read("/health/notes"))
    await twin.check()
    await twin.revoke("dee", every)
    await twin.revoke("bob", every)
    await twin.check()
    assert not await twin.share("bob", "form", "dee", replace(_read("/name"), max_uses=1))
    assert not await twin.ask_access("dee", "form", replace(_read("/name"), max_uses=1))
    asked = await twin.ask_access("dee", "form", _read("/health"))
    assert asked
    assert not await twin.approve("bob", asked, _read("/name"))
    assert await twin.approve("bob", asked, _read("/health/blood"))
    await twin.check()


async def _share_what_is_personal(twin: Twin) -> None:
    """Fields of a record that are personal are shared as whom it is about agreed to, and the others without."""
    assert await twin.share("ann", "chart", "bob", _share("/name", "/healthy"))
    for personal in (_read(), _read("/name", "/health"), _read("/health/blood")):
        assert not await twin.share("ann", "chart", "dee", personal)
    assert await twin.agree("chart", "cem", "audit")
    assert await twin.share("ann", "chart", "dee", _read("/health/blood"))
    await twin.check()
    await twin.mark("chart", None)
    await twin.check()
    again = await twin.agree("chart", "cem", "audit")
    assert again
    assert await twin.share("ann", "chart", "dee", _read())
    await twin.check()
    await twin.answer("cem", again, "withdrawn")
    await twin.check()


async def _read_what_was_said(twin: Twin) -> None:
    """Who reads a conversation is told of the plan only what the plan's own grants, and its place, let them see."""
    assert not await twin.mark("talk", "cem")
    for impossible in (replace(_read(), max_uses=1), _read("/name"), Offer(frozenset({"search"}))):
        assert not await twin.share("bob", "talk", "ann", impossible)
        assert not await twin.ask_access("ann", "talk", impossible)
    lent = await twin.share("bob", "talk", "ann", _share())
    assert lent
    assert await twin.share("ann", "talk", "cem", _read())
    assert await twin.share("bob", "talk", "dee", replace(_read(), ends=twin.model.hour + 1))
    assert await twin.share("bob", "talk", EVERYONE, replace(_read(), purpose="audit"))
    await twin.check()
    found = await twin.share("ann", "plan", "cem", Offer(frozenset({"search"})))
    assert found
    assert await twin.share("ann", "plan", "bob", replace(_read(), purpose="audit"))
    await twin.check()
    await twin.trash("plan")
    await twin.check()
    await twin.trash("plan")
    await twin.revoke("ann", found)
    await twin.pass_hours()
    await twin.check()
    await twin.revoke("cem", lent)
    await twin.revoke("bob", lent)
    await twin.check()
