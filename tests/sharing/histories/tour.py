"""A history that touches each clause of the policy."""

from dataclasses import replace

from tests.sharing.model.grants import EVERYONE
from tests.sharing.model.parts import Offer
from tests.sharing.twin.cast import ANSWER_HOURS
from tests.sharing.twin.tenant import Twin


async def tour(twin: Twin) -> None:
    """Share, share on, use, place, leave, expire, revoke; both worlds are compared at every station."""
    await _share_on(twin)
    await _fill_stores(twin)
    await _leave_a_group(twin)
    await _use_up(twin)
    await _expire_and_revoke(twin)
    await _agree(twin)
    await _mark(twin)
    await _ask(twin)


async def _share_on(twin: Twin) -> None:
    every = Offer(frozenset({"search", "read", "download", "write", "share"}), ends=5)
    assert await twin.share("ann", "plan", "bob", every)
    assert await twin.share("bob", "plan", "cem", Offer(frozenset({"read", "share"}), ends=3))
    assert not await twin.share("cem", "plan", "dee", Offer(frozenset({"read", "write"})))
    assert not await twin.share("bob", "plan", "dee", Offer(frozenset({"read"}), begins=6))
    assert not await twin.share("cem", "bill", "dee", Offer(frozenset({"read"})))
    await twin.share("ann", "plan", EVERYONE, Offer(frozenset({"comment"})))
    await twin.share("ann", "bill", "dee", Offer(frozenset({"comment"}), begins=1))
    await twin.share("ann", "bill", "cem", Offer(frozenset({"write"}), purpose="audit"))
    await twin.check()
    await twin.pass_hours()
    await twin.trash("plan")
    await twin.check()
    await twin.trash("plan")


async def _fill_stores(twin: Twin) -> None:
    await twin.place("ann", "shelf", "bill")
    await twin.share("ann", "shelf", "cem", Offer(frozenset({"read", "write"}), ends=3))
    await twin.place("bob", "drawer", "plan")
    await twin.share("bob", "drawer", "dee", Offer(frozenset({"read", "write", "comment"})))
    await twin.check()
    lent = await twin.share("ann", "bill", "bob", Offer(frozenset({"read", "share"})))
    assert lent
    await twin.place("bob", "drawer", "bill")
    await twin.check()
    await twin.revoke("cem", lent)
    await twin.revoke("ann", lent)
    await twin.check()


async def _leave_a_group(twin: Twin) -> None:
    await twin.join("board", "bob")
    await twin.join("board", "cem")
    await twin.share("ann", "bill", "board", Offer(frozenset({"read", "share"})))
    await twin.share("bob", "bill", "dee", Offer(frozenset({"read"})))
    await twin.share("cem", "bill", "dee", Offer(frozenset({"read"})))
    await twin.place("bob", "drawer", "bill")
    await twin.check()
    await twin.leave("board", "cem")
    await twin.check()
    await twin.leave("board", "bob")
    await twin.check()


async def _use_up(twin: Twin) -> None:
    await twin.share("ann", "bill", "cem", Offer(frozenset({"download", "share"}), max_uses=2))
    await twin.share("cem", "bill", "dee", Offer(frozenset({"download"}), max_uses=1))
    await twin.share("cem", "bill", "bob", Offer(frozenset({"download"})))
    await twin.use("dee", "bill")
    await twin.check()
    await twin.use("bob", "bill")
    await twin.check()
    await twin.place("ann", "drawer", "bill")
    await twin.check()


async def _expire_and_revoke(twin: Twin) -> None:
    for _ in range(4):
        await twin.pass_hours()
        await twin.check()
    root = await twin.share("ann", "plan", "bob", Offer(frozenset({"read", "share"})))
    assert root
    await twin.share("bob", "plan", "cem", Offer(frozenset({"read", "share"})))
    await twin.share("cem", "plan", "dee", Offer(frozenset({"read"})))
    await twin.check()
    await twin.revoke("ann", root)
    await twin.check()


async def _agree(twin: Twin) -> None:
    every = Offer(frozenset({"read", "share"}))
    assert not await twin.mark("bill", "cem")
    for thing in ("shelf", "drawer", "bill"):
        assert await twin.mark(thing, "cem")
    assert not await twin.share("ann", "bill", "bob", every)
    asked = await twin.ask_consent("bill", "audit")
    assert asked
    assert not await twin.share("ann", "bill", "bob", every)
    await twin.answer("ann", asked, "given")
    await twin.answer("cem", asked, "given")
    await twin.answer("cem", asked, "given")
    assert not await twin.share("ann", "bill", "bob", replace(every, purpose="care"))
    late = twin.model.hour + 30
    assert not await twin.share("ann", "bill", "bob", replace(every, ends=late))
    assert await twin.share("ann", "bill", "bob", every)
    assert await twin.share("bob", "bill", "dee", Offer(frozenset({"read"})), "audit")
    await twin.check()
    await twin.answer("cem", asked, "withdrawn")
    await twin.check()
    assert not await twin.share("ann", "bill", "bob", every)
    await twin.answer("cem", asked, "renewed")
    await twin.answer("cem", asked, "withdrawn")
    again = await twin.agree("bill", "cem", "audit")
    assert again
    assert await twin.share("ann", "bill", "bob", every)
    await twin.pass_hours(24)
    await twin.check()
    assert not await twin.share("ann", "bill", "bob", every)
    await twin.expire()
    await twin.check()
    await twin.answer("cem", again, "renewed")
    assert await twin.share("ann", "bill", "bob", every)
    refused = await twin.ask_consent("bill", "care")
    assert refused
    await twin.answer("cem", refused, "refused")
    await twin.answer("cem", refused, "given")
    await twin.check()


async def _mark(twin: Twin) -> None:
    await twin.mark("plan", None)
    assert await twin.share("ann", "plan", "bob", Offer(frozenset({"read", "share"})))
    await twin.place("ann", "shelf", "plan")
    assert not await twin.mark("plan", "bob")
    await twin.mark("plan", "cem")
    await twin.check()
    assert not await twin.share("ann", "plan", "dee", Offer(frozenset({"read"})))
    assert not await twin.mark("shelf", "bob")
    await twin.mark("plan", None)
    await twin.check()


async def _ask(twin: Twin) -> None:
    await twin.mark("plan", None)
    wish = Offer(frozenset({"read", "comment"}), purpose="audit")
    assert await twin.ask_access("cem", "plan", wish)
    first = await twin.ask_access("cem", "plan", wish)
    assert first
    await twin.check()
    await twin.approve("cem", first, wish)
    for wider in (replace(wish, actions=wish.actions | {"write"}), replace(wish, purpose="care")):
        assert not await twin.approve("ann", first, wider)
    soon = twin.model.hour + 2
    less = Offer(frozenset({"read"}), ends=soon, max_uses=1)
    assert await twin.approve("ann", first, less)
    await twin.check()
    assert not await twin.approve("ann", first, less)
    await twin.deny("ann", first)
    second = await twin.ask_access("dee", "plan", wish)
    assert second
    await twin.deny("dee", second)
    await twin.deny("ann", second)
    assert not await twin.approve("ann", second, less)
    await twin.check()
    third = await twin.ask_access("dee", "bill", replace(wish, purpose="care"))
    assert third
    assert not await twin.approve("ann", third, less)
    fourth = await twin.ask_access("dee", "plan", wish)
    assert fourth
    await twin.pass_hours(ANSWER_HOURS)
    await twin.check()
    assert not await twin.approve("ann", fourth, wish)
    await twin.expire()
    await twin.check()
