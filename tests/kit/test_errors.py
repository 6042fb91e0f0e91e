"""The registry of error kinds."""

from http import HTTPStatus

from undercroft.kit.errors import (
    STATUS,
    ErrorKind,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
    UndercroftError,
)


def test_every_kind_has_an_error_status() -> None:
    assert STATUS.keys() == set(ErrorKind)
    assert all(400 <= HTTPStatus(status) <= 599 for status in STATUS.values())


def test_an_error_has_the_status_of_its_kind() -> None:
    error = UndercroftError("Too large.", kind=ErrorKind.TOO_LARGE, param="file", code="file_size")
    assert (error.status, error.param, error.code) == (413, "file", "file_size")
    assert str(error) == error.message == "Too large."


def test_an_invalid_request_names_its_field() -> None:
    error = InvalidRequestError("Use a number.", param="limit")
    assert (error.status, error.param) == (400, "limit")


def test_a_missing_object_is_named() -> None:
    error = NotFoundError("file", "file-1", param="file_id")
    assert (error.status, error.message) == (404, "No file with id 'file-1'.")


def test_what_is_unavailable_says_when_to_try_again() -> None:
    error = UnavailableError("Busy.", retry_after=7)
    assert (error.status, error.retry_after) == (503, 7)
