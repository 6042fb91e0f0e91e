"""Bodies of the OAuth endpoints: forms, read as RFC 6749 says (section 3.2 and appendix B)."""

from typing import ClassVar, Final, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, ValidationError

from undercroft.http.json_bodies import require_media_type
from undercroft.kit.errors import InvalidRequestError

FORM: Final = "application/x-www-form-urlencoded"
LARGEST_FORM: Final = 32 * 1024
_MOST_FIELDS: Final = 30


class OAuthForm(BaseModel):
    """Parameters of a form. Those that are not known here are ignored, as the RFC demands."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="ignore", frozen=True)


Form = TypeVar("Form", bound=OAuthForm)


async def read_form(request: Request, model: type[Form]) -> Form:
    """A request's form as a model. A parameter without a value counts as left out.

    Raises:
        UndercroftError: Of kind UNSUPPORTED_MEDIA_TYPE, when it is sent as anything else.
        InvalidRequestError: When it is no form, or names a parameter twice.
        RequestValidationError: When the model does not take it.
    """
    require_media_type(request, FORM)
    text = await request.body()
    try:
        pairs = parse_qsl(
            text.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(text),
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError as error:
        raise InvalidRequestError(
            "The body is no form: send it as name=value pairs in UTF-8, percent-encoded, at most 30 of them."
        ) from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidRequestError("The form names a parameter twice; send each of them once.")
    try:
        return model.model_validate({name: value for name, value in fields.items() if value})
    except ValidationError as error:
        problems = [
            {**problem, "loc": ("body", *problem["loc"])}
            for problem in error.errors(include_url=False, include_context=False)
        ]
        raise RequestValidationError(problems) from error
