"""Forms with a file that is encrypted while it arrives: never on a disk in the clear, never all of it in memory.

The framework parses and validates the form; only where it would put a file's bytes is changed. It would write those of
a file above 1 MiB to the folder for temporary files.
"""

import io
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias, cast

from fastapi import Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers
from starlette.datastructures import UploadFile as StarletteUploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Receive, Scope

from undercroft.http.deps import AuthenticatedRoute, get_services
from undercroft.http.json_bodies import StrictRequest
from undercroft.http.services import Services
from undercroft.identity.models import Permission, Principal
from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.vault.intake import Incoming
from undercroft.vault.usage.service import RequireRoom

_MOST_FIELDS: Final = 20
_LARGEST_FIELD: Final = 64 * 1024
_MULTIPART: Final = "multipart/form-data"
_ENCODINGS: Final = frozenset({b"utf-8", b"us-ascii"})

FORM_OVERHEAD: Final = 64 * 1024
"""Room in a body for the form around the file."""

Begin: TypeAlias = Callable[[], Incoming]
"""Answers where the file of a form is written to."""


@dataclass(frozen=True, slots=True)
class Admission:
    """That a form's file is taken.

    Attributes:
        begin: Where it is written to.
        require_room: Refuses it once more has come than there is room for, whatever the body's header said.
    """

    begin: Begin
    require_room: RequireRoom


Admit: TypeAlias = Callable[[Request, Services, Principal], Awaitable[Admission]]
"""Decides before any of a body is read whether its file is taken."""


class UploadRoute(AuthenticatedRoute):
    """A route whose form may hold one file."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler, given a request that puts files where they belong."""
        handle = super().get_route_handler()
        fields = frozenset(field.alias for field in self.dependant.body_params)

        async def admit(request: Request, services: Services, principal: Principal) -> Admission:
            # Once more than the route's own check, which comes after the body: before that nothing is looked up for
            # somebody, or written, who may not upload.
            await services.people.identity.require(principal, Permission.DOCUMENTS_WRITE)
            return await self.admit(request, services, principal)

        async def receive_file(request: Request) -> Response:
            upload = _UploadRequest(request.scope, request.receive, admit, fields)
            try:
                return await handle(upload)
            finally:
                await upload.discard()

        return receive_file

    async def admit(self, request: Request, services: Services, principal: Principal) -> Admission:
        """Decide, before any of the body is read, whether its file is taken, and where it goes.

        Raises:
            UndercroftError: When it is not.
        """
        room = await require_room(request, services, principal)
        return Admission(partial(services.vault.intake.begin, principal), room)


async def require_room(request: Request, services: Services, principal: Principal) -> RequireRoom:
    """Refuse a body whose file cannot fit into the quotas, as far as its header tells; what refuses it later.

    Raises:
        QuotaExceededError: When it cannot.
    """
    require = await services.vault.usage.measure(principal)
    announced = request.headers.get("Content-Length", "")
    require(max(int(announced) - FORM_OVERHEAD, 1) if announced.isdecimal() else 1)
    return require


def incoming_of(file: UploadFile) -> Incoming:
    """The content that came as a form's file."""
    if not isinstance(file, _IncomingFile):
        raise TypeError("the route is no UploadRoute")
    return file.incoming


class _IncomingFile(StarletteUploadFile):
    """A file of a form that was encrypted as it came. It cannot be read: ask the intake."""

    def __init__(
        self,
        incoming: Incoming,
        require_room: RequireRoom,
        filename: str | None,
        headers: Headers,
    ) -> None:
        super().__init__(io.BytesIO(), filename=filename, headers=headers)
        self.incoming = incoming
        self._require_room = require_room
        self._received = 0

    async def write(self, data: bytes) -> None:
        self._received += len(data)
        self._require_room(self._received)
        await self.incoming.write(data)

    async def seek(self, offset: int) -> None:
        """The framework rewinds what it has written."""

    async def close(self) -> None:
        await self.incoming.close()


class _FormParser(MultiPartParser):
    def __init__(
        self,
        headers: Headers,
        stream: AsyncGenerator[bytes],
        admission: Admission,
        fields: frozenset[str],
    ) -> None:
        super().__init__(
            headers, stream, max_files=1, max_fields=_MOST_FIELDS, max_part_size=_LARGEST_FIELD
        )
        self._admission = admission
        self._fields = fields

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        # Before its bytes are taken in. Of `tags[0]` the field is `tags`.
        name = self._current_part.field_name
        if name not in self._fields:
            problem = {"type": "extra_forbidden", "loc": ("body", name.partition("[")[0])}
            raise RequestValidationError([problem])
        file = self._current_part.file
        if file is not None:
            file.file.close()  # the framework's own, which nothing will be written to
            self._current_part.file = _IncomingFile(
                self._admission.begin(),
                self._admission.require_room,
                file.filename,
                file.headers,
            )


class _UploadRequest(StrictRequest):
    def __init__(
        self, scope: Scope, receive: Receive, admit: Admit, fields: frozenset[str]
    ) -> None:
        super().__init__(scope, receive)
        self._admit = admit
        self._fields = fields
        self._incoming: Incoming | None = None

    async def discard(self) -> None:
        """Forget what was received, unless it was kept."""
        if self._incoming is not None:
            await self._incoming.close()

    async def _get_form(self, **limits: Any) -> FormData:  # noqa: ANN401 - the framework's limits, for the others
        if not self.headers.get("Content-Type", "").lower().startswith(_MULTIPART):
            return await super()._get_form(**limits)
        if self._form is None:
            _require_encoding(self.headers["Content-Type"])
            services = await get_services(self)
            admitted = await self._admit(self, services, cast("Principal", self.state.principal))

            def begin() -> Incoming:
                self._incoming = admitted.begin()
                return self._incoming

            try:
                async with aclosing(self.stream()) as stream:
                    admission = Admission(begin, admitted.require_room)
                    parser = _FormParser(self.headers, stream, admission, self._fields)
                    self._form = await parser.parse()
            except MultiPartException as error:
                # The framework's words do not say what to do.
                told = f"{error.message} Send one file, in a form as multipart/form-data."
                raise HTTPException(400, told) from error
        return self._form


def _require_encoding(content_type: str) -> None:
    """Refuse a form whose texts are in another encoding than UTF-8.

    The parser would take any that Python knows, and some cost it time that grows with the square of the text.
    """
    _, parameters = parse_options_header(content_type)
    if parameters.get(b"charset", b"utf-8").lower() not in _ENCODINGS:
        raise UndercroftError(
            "Send the texts of a form in UTF-8.",
            kind=ErrorKind.UNSUPPORTED_MEDIA_TYPE,
            param="Content-Type",
            code="unsupported_body",
        )
