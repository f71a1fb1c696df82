"""The errors that calls raise: a class for each gRPC status, with what the server says about it.

try:
    images = client.generate_images(class_label="people", steps=0)
except denoised.InvalidRequest as error:
    for field, description in error.violations:
        print(field, description)  # sampler.steps must be between 1 and 1000, is 0
except denoised.Unavailable as error:
    print("try again in", error.retry_after, "seconds")
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"
_REQUEST_ID_KEY = "request_id"

_Detail = TypeVar("_Detail", bound=Message)


class Violation(NamedTuple):
    """One wrong field of a request."""

    #: As in the contract: "sampler.steps".
    field: str
    #: "must be between 1 and 1000, is 0".
    description: str


class Error(Exception):
    """A call that failed. Statuses without a class of their own are plain `Error`s."""

    #: The gRPC status.
    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN
    #: What is wrong, what is allowed and what to do next, for people.
    message: str
    #: The wrong fields of an InvalidRequest; empty for every other error.
    violations: Sequence[Violation]
    #: How many seconds the server asks to wait before the same call, if it does.
    retry_after: float | None
    #: Why, for programs: "GENERATION_EXPIRED", "OUT_OF_MEMORY". Empty if the server does not say.
    reason: str
    #: More about `reason`, such as the `fitting_rows` of "OUT_OF_MEMORY".
    metadata: Mapping[str, str]
    #: The server's id of the failed call, which its log names. Empty if the server was not reached.
    server_request_id: str
    #: What the error is about: "models/emoji-33". May be empty.
    resource: str

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        violations: Iterable[Violation] = (),
        retry_after: float | None = None,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        resource: str = "",
    ) -> None:
        self.violations = tuple(violations)
        # The list says all that the server's own message says, in a form made for reading.
        lines = [f"\n  {violation.field}: {violation.description}" for violation in self.violations]
        self.message = "the request is invalid" + "".join(lines) if lines else message
        super().__init__(self.message)
        self.code = code or type(self).code
        self.retry_after = retry_after
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.server_request_id = self.metadata.pop(_REQUEST_ID_KEY, "")
        self.resource = resource


class Cancelled(Error):
    """Somebody cancelled the call or the generation, or an event went unread for too long."""

    code = grpc.StatusCode.CANCELLED


class InvalidRequest(Error):
    """Fields of the request are wrong; `violations` lists every one."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class DeadlineExceeded(Error):
    """The deadline passed, or cannot be met."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class NotFound(Error):
    """There is no such model, generation, data set or job; `resource` names it."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(Error):
    """The name or the request id belongs to something else."""

    code = grpc.StatusCode.ALREADY_EXISTS


class PermissionDenied(Error):
    """The server does not let callers do this: it may lack `--manage-models`."""

    code = grpc.StatusCode.PERMISSION_DENIED


class ResourceExhausted(Error):
    """A quota, a disk or the memory of a device is used up, or a message is too large."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class FailedPrecondition(Error):
    """The state of the resource does not allow this call; the message says what would."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class Aborted(Error):
    """Somebody paused the generation, or another call is at work on the same resource."""

    code = grpc.StatusCode.ABORTED


class Unimplemented(Error):
    """The server does not offer this: it may lack `--state`, or be older than this client."""

    code = grpc.StatusCode.UNIMPLEMENTED


class Internal(Error):
    """The server failed; its log has more under `server_request_id`."""

    code = grpc.StatusCode.INTERNAL


class Unavailable(Error):
    """The server cannot be reached, is full or is stopping. The same call may succeed later."""

    code = grpc.StatusCode.UNAVAILABLE


class DataLoss(Error):
    """A checksum does not match."""

    code = grpc.StatusCode.DATA_LOSS


class Unauthenticated(Error):
    """Something in front of the server asks for credentials."""

    code = grpc.StatusCode.UNAUTHENTICATED


_CLASSES = {error_class.code: error_class for error_class in Error.__subclasses__()}


def from_rpc_error(rpc_error: grpc.RpcError, address: str) -> Error:
    """The error behind a failed call to `address`, of either kind of channel."""
    call = cast("grpc.Call", rpc_error)  # what channels raise has the methods of a call, too
    code = call.code()
    error_class = _CLASSES.get(code, Error)
    text = call.details() or ""
    status = _status(call)
    if status is None:
        return error_class(_message_without_details(code, text, address), code=code)
    info = _find(status, error_details_pb2.ErrorInfo())
    retry = _find(status, error_details_pb2.RetryInfo())
    resource = _find(status, error_details_pb2.ResourceInfo())
    bad_request = _find(status, error_details_pb2.BadRequest())
    return error_class(
        text,
        code=code,
        violations=[Violation(v.field, v.description) for v in bad_request.field_violations],
        retry_after=_seconds(retry) if retry.HasField("retry_delay") else None,
        reason=info.reason,
        metadata=info.metadata,
        resource=resource.resource_name,
    )


@contextlib.contextmanager
def translated(address: str) -> Iterator[None]:
    """Raises the error behind a failed call to `address` instead of gRPC's."""
    try:
        yield
    except grpc.RpcError as rpc_error:
        raise from_rpc_error(rpc_error, address) from None


def _status(call: grpc.Call) -> status_pb2.Status | None:
    for key, value in call.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def _find(status: status_pb2.Status, detail: _Detail) -> _Detail:
    """Fills `detail` with the detail of its type, if there is one."""
    for packed in status.details:
        if packed.Unpack(detail):
            break
    return detail


def _seconds(retry: error_details_pb2.RetryInfo) -> float:
    return float(retry.retry_delay.ToTimedelta().total_seconds())


def _message_without_details(code: grpc.StatusCode, text: str, address: str) -> str:
    """Words for people: a status without details was made by gRPC itself, on this side."""
    if code is grpc.StatusCode.UNAVAILABLE:
        return f"no connection to {address} ({text})"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and text in ("", "Deadline Exceeded"):
        return f"the deadline passed before {address} had answered in full"
    if text:
        return text
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return (
            f"the server at {address} does not offer this call: "
            "it may be older than this client, or lack --state"
        )
    return f"the server at {address} answered {code.name} without a reason"
