"""Second factors: one's own, other people's for admins, and whether the tenant asks for them."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from undercroft.http.account_views import (
    EnrolmentObject,
    RecoveryCodesObject,
    SecondFactorObject,
    SecondFactorPolicyObject,
    client_of,
    render_standing,
)
from undercroft.http.callers import EnrollingKeyHolder, KeyHolder, MemberWriter
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.openai.contract import answers, errors
from undercroft.http.routes.accounts import Code
from undercroft.http.routes.sessions import Password
from undercroft.http.wire import JsonObject, RequestBody, require_id
from undercroft.ledger.models import USER_PREFIX

router = APIRouter(tags=["accounts"], route_class=NativeRoute)

_PATH = "/v1/account/second-factor"


class EnrolBody(RequestBody):
    """The caller's password."""

    current_password: Password


class ConfirmBody(RequestBody):
    """A code of the app that has the secret."""

    code: Code


class BothFactorsBody(RequestBody):
    """The caller's password, and a code of their app or a recovery code."""

    current_password: Password
    code: Code


class SecondFactorPolicyBody(RequestBody):
    """Whether the tenant asks its people for a second factor."""

    demanded: bool


@router.get(
    _PATH, summary="Get one's second factor", response_model=SecondFactorObject, responses=errors()
)
async def get_second_factor(
    caller: EnrollingKeyHolder, services: ServicesDependency
) -> dict[str, Any]:
    """Whether signing in takes a second factor, and how many recovery codes are left."""
    return render_standing(await services.people.second_factors.get_standing(caller))


@router.post(
    _PATH,
    summary="Begin to enrol a second factor",
    status_code=201,
    response_model=EnrolmentObject,
    responses={**answers(201, "A secret for the app.", "Location"), **errors(404, 409, 429)},
)
async def enrol_second_factor(
    body: EnrolBody, request: Request, caller: EnrollingKeyHolder, services: ServicesDependency
) -> JSONResponse:
    """Get a secret for an authenticator app. It counts once a code of it is confirmed, within 15 minutes."""
    enrolment = await services.people.second_factors.begin(
        caller, body.current_password, client_of(request)
    )
    shown = {
        "object": "second_factor.enrolment",
        "secret": enrolment.secret,
        "uri": enrolment.uri,
    }
    return JSONResponse(shown, 201, {"Location": _PATH})


@router.post(
    f"{_PATH}/confirmation",
    summary="Confirm one's second factor",
    response_model=RecoveryCodesObject,
    responses=errors(404, 409, 429),
)
async def confirm_second_factor(
    body: ConfirmBody, request: Request, caller: EnrollingKeyHolder, services: ServicesDependency
) -> dict[str, Any]:
    """Have signing in take the second factor from now on. Every other session of the caller's ends."""
    codes = await services.people.second_factors.confirm(caller, body.code, client_of(request))
    return _show_codes(codes)


@router.post(
    f"{_PATH}/recovery-codes",
    summary="Replace one's recovery codes",
    response_model=RecoveryCodesObject,
    responses=errors(404, 409, 429),
)
async def renew_recovery_codes(
    body: BothFactorsBody, request: Request, caller: KeyHolder, services: ServicesDependency
) -> dict[str, Any]:
    """Get other recovery codes. Those before are void."""
    codes = await services.people.second_factors.renew_recovery_codes(
        caller, body.current_password, body.code, client_of(request)
    )
    return _show_codes(codes)


@router.post(
    f"{_PATH}/removal",
    summary="Remove one's second factor",
    status_code=204,
    response_class=Response,
    responses=errors(404, 409, 429),
)
async def remove_second_factor(
    body: BothFactorsBody, request: Request, caller: KeyHolder, services: ServicesDependency
) -> Response:
    """Have signing in take the password alone again. Every other session of the caller's ends."""
    await services.people.second_factors.remove(
        caller, body.current_password, body.code, client_of(request)
    )
    return Response(status_code=204)


@router.delete(
    "/v1/users/{user_id}/second-factor",
    summary="Remove a user's second factor",
    status_code=204,
    response_class=Response,
    responses=errors(404, 409),
)
async def remove_users_second_factor(
    user_id: str, caller: MemberWriter, services: ServicesDependency
) -> Response:
    """For somebody who has lost theirs and every recovery code; they get a mail. Admins only, and not their own."""
    await services.people.second_factors.remove_of(caller, require_id(USER_PREFIX, "user", user_id))
    return Response(status_code=204)


@router.get(
    "/v1/second-factor-policy",
    summary="Whether a second factor is demanded",
    response_model=SecondFactorPolicyObject,
    responses=errors(),
)
async def get_second_factor_policy(
    caller: MemberWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Whether the tenant asks its people for a second factor. Admins only."""
    return _show_policy(is_demanded=await services.people.second_factors.is_demanded(caller))


@router.put(
    "/v1/second-factor-policy",
    summary="Decide whether a second factor is demanded",
    response_model=SecondFactorPolicyObject,
    responses=errors(),
)
async def put_second_factor_policy(
    body: SecondFactorPolicyBody, caller: MemberWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Let people without a second factor in only as far as to enrol one, from their next request on; or further again.

    Admins only.
    """
    await services.people.second_factors.demand(caller, is_demanded=body.demanded)
    return _show_policy(is_demanded=body.demanded)


def _show_codes(codes: list[str]) -> JsonObject:
    return {"object": "second_factor.recovery_codes", "recovery_codes": codes}


def _show_policy(*, is_demanded: bool) -> JsonObject:
    return {"object": "second_factor_policy", "demanded": is_demanded}
