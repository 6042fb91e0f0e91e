"""Accounts: passwords, codes that came by mail, invitations, and who may sign up."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from undercroft.http.account_views import (
    AccountObject,
    OutsideToolsObject,
    SignUpObject,
    client_of,
    render_account,
)
from undercroft.http.callers import EnrollingMember, KeyHolder, MemberWriter
from undercroft.http.deps import NativeRoute, PublicRoute, ServicesDependency
from undercroft.http.openai.contract import errors
from undercroft.http.routes.sessions import Email, Password, Tenant
from undercroft.http.wire import RequestBody, require_id
from undercroft.ledger.models import USER_PREFIX

public_router = APIRouter(tags=["accounts"], route_class=PublicRoute)
router = APIRouter(tags=["accounts"], route_class=NativeRoute)

Code = Annotated[str, Field(min_length=1, max_length=100)]


class AddressBody(RequestBody):
    """Where to send a mail."""

    tenant: Tenant
    email: Email


class PasswordCodeBody(RequestBody):
    """A code from a mail, and the password to set."""

    code: Code
    password: Password


class CodeBody(RequestBody):
    """A code from a mail."""

    code: Code


class ChangePasswordBody(RequestBody):
    """The password that is, and the one to be."""

    current_password: Password
    password: Password


class OutsideToolsBody(RequestBody):
    """Whether remote tools may be told of what documents say."""

    allowed: bool


class SignUpBody(RequestBody):
    """Whether people may make accounts by themselves."""

    open: bool


@public_router.post(
    "/v1/account/sign-up",
    summary="Sign up",
    status_code=204,
    response_class=Response,
    responses=errors(429),
)
async def sign_up(body: AddressBody, request: Request, services: ServicesDependency) -> Response:
    """Have a code sent that makes an account, or, to whoever has one, a code for a new password."""
    await services.people.mailing.sign_up(body.tenant, body.email, client_of(request))
    return Response(status_code=204)


@public_router.post(
    "/v1/account/password/request",
    summary="Ask for a new password",
    status_code=204,
    response_class=Response,
    responses=errors(429),
)
async def request_password(
    body: AddressBody, request: Request, services: ServicesDependency
) -> Response:
    """Have a code for a new password sent. The answer is the same whether the address has an account or not."""
    await services.people.mailing.ask_for_password(body.tenant, body.email, client_of(request))
    return Response(status_code=204)


@public_router.post(
    "/v1/account/password/code",
    summary="Set a password by a code",
    status_code=204,
    response_class=Response,
    responses=errors(),
)
async def use_password_code(
    body: PasswordCodeBody, request: Request, services: ServicesDependency
) -> Response:
    """Accept an invitation, sign up or set a new password. The address is verified by it, and every session ends."""
    await services.people.accounts.use_password_code(body.code, body.password, client_of(request))
    return Response(status_code=204)


@public_router.post(
    "/v1/account/verification/code",
    summary="Verify an address by a code",
    status_code=204,
    response_class=Response,
    responses=errors(),
)
async def use_verification_code(body: CodeBody, services: ServicesDependency) -> Response:
    """Show that mail to an address is read by whoever has its account."""
    await services.people.accounts.use_verification_code(body.code)
    return Response(status_code=204)


@router.get(
    "/v1/account", summary="Get one's account", response_model=AccountObject, responses=errors(404)
)
async def get_account(caller: EnrollingMember, services: ServicesDependency) -> dict[str, Any]:
    """Who the caller is. Services and links have no account."""
    return render_account(await services.people.accounts.get_account(caller))


@router.put(
    "/v1/account/password",
    summary="Change one's password",
    status_code=204,
    response_class=Response,
    responses=errors(404, 429),
)
async def change_password(
    body: ChangePasswordBody, request: Request, caller: KeyHolder, services: ServicesDependency
) -> Response:
    """Set another password. Every other session of the caller's ends."""
    await services.people.accounts.change_password(
        caller, body.current_password, body.password, client_of(request)
    )
    return Response(status_code=204)


@router.post(
    "/v1/account/verification",
    summary="Ask for a code that verifies one's address",
    status_code=204,
    response_class=Response,
    responses=errors(404),
)
async def request_verification(caller: KeyHolder, services: ServicesDependency) -> Response:
    """Have a code sent to the caller's address; none when it is verified, or three are still good."""
    await services.people.accounts.ask_for_verification(caller)
    return Response(status_code=204)


@router.post(
    "/v1/users/{user_id}/invitation",
    summary="Invite a user",
    status_code=204,
    response_class=Response,
    responses=errors(404, 409),
)
async def invite_user(user_id: str, caller: MemberWriter, services: ServicesDependency) -> Response:
    """Have a code sent to a user who has no password yet. Codes of earlier invitations are void. Admins only."""
    await services.people.accounts.invite(caller, require_id(USER_PREFIX, "user", user_id))
    return Response(status_code=204)


@router.get(
    "/v1/outside-tools",
    summary="Whether tools elsewhere may be told of documents",
    response_model=OutsideToolsObject,
    responses=errors(),
)
async def get_outside_tools(caller: MemberWriter, services: ServicesDependency) -> dict[str, Any]:
    """Whether remote tools are called once documents of the tenant are in a prompt. Admins only."""
    return {"object": "outside_tools", "allowed": await services.people.policies.get(caller)}


@router.put(
    "/v1/outside-tools",
    summary="Decide whether tools elsewhere may be told of documents",
    response_model=OutsideToolsObject,
    responses=errors(),
)
async def put_outside_tools(
    body: OutsideToolsBody, caller: MemberWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Let remote tools be called once documents are in a prompt, where their grants allow it, or not. Admins only."""
    await services.people.policies.allow_outside_tools(caller, allows=body.allowed)
    return {"object": "outside_tools", "allowed": body.allowed}


@router.get(
    "/v1/sign-up",
    summary="Whether people may sign up",
    response_model=SignUpObject,
    responses=errors(),
)
async def get_sign_up(caller: MemberWriter, services: ServicesDependency) -> dict[str, Any]:
    """Whether people may make accounts in the tenant by themselves. Admins only."""
    return {"object": "sign_up", "open": await services.people.accounts.is_sign_up_open(caller)}


@router.put(
    "/v1/sign-up",
    summary="Decide whether people may sign up",
    response_model=SignUpObject,
    responses=errors(),
)
async def put_sign_up(
    body: SignUpBody, caller: MemberWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Let people make accounts in the tenant by themselves, or have them invited. Admins only."""
    if body.open:
        await services.people.accounts.open_sign_up(caller)
    else:
        await services.people.accounts.close_sign_up(caller)
    return {"object": "sign_up", "open": body.open}
