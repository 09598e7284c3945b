"""Builds error answers: Kling's table of service codes and CometAPI's own error body."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

# The official table [C], section "Errors" of the API's documentation.
CODES: dict[int, tuple[int, str]] = {
    1000: (401, "Authentication failed"),
    1001: (401, "Authorization is empty"),
    1002: (401, "Authorization is invalid"),
    1003: (401, "Authorization is not yet valid"),
    1004: (401, "Authorization has expired"),
    1100: (429, "Account exception"),
    1101: (429, "Account in arrears"),
    1102: (429, "Resource pack depleted or expired"),
    1103: (403, "No permission for the requested resource"),
    1200: (400, "Invalid request parameters"),
    1201: (400, "Invalid parameters"),
    1202: (404, "The requested method is invalid"),
    1203: (404, "The requested resource does not exist"),
    1300: (400, "Trigger strategy of the platform"),
    1301: (400, "Trigger the content security policy of the platform"),
    1302: (429, "API request too fast, exceeding the platform rate limit"),
    1303: (429, "parallel task over resource pack limit"),
    1304: (429, "Trigger the platform IP whitelist policy"),
    5000: (500, "Internal server error"),
    5001: (503, "Server temporarily unavailable, usually due to maintenance"),
    5002: (504, "Server internal timeout, usually due to a backlog"),
}
"""Service code to HTTP status and message."""

BAD_BASE64 = "File is not in a valid base64 format"
BAD_PIXELS = "Image pixel is invalid"


class ApiError(Exception):
    """An error answer of the emulated API.

    :param status: HTTP status
    :param code: a number for Kling's body, a string for CometAPI's
    :param message: text for the caller
    """

    def __init__(self, status: int, code: int | str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON that is sent."""
        if self.code == "task_not_exist":
            return {"code": self.code, "message": self.message, "data": None}
        if isinstance(self.code, int):
            return {"code": self.code, "message": self.message, "request_id": request_id}
        message = f"{self.message} (request id: {request_id})"
        return {"error": {"message": message, "type": "comet_api_error", "param": "", "code": self.code}}

    def response(self, body: Any = None, headers: Mapping[str, str] | None = None) -> JSONResponse:
        """The HTTP answer, with a new request id.

        :param body: any JSON to send in place of the error body
        """
        return JSONResponse(self.body(str(uuid.uuid4())) if body is None else body, self.status, headers)


def kling_error(code: int, message: str | None = None, status: int | None = None) -> ApiError:
    """An error of Kling's table; message and HTTP status are the table's unless given."""
    table_status, table_message = CODES.get(code, (500, "Unknown error"))
    return ApiError(status or table_status, code, message or table_message)


def comet_error(status: int, message: str, code: str = "") -> ApiError:
    """An error of CometAPI itself."""
    return ApiError(status, code, message)


def nested(body: dict[str, Any]) -> dict[str, Any]:
    """An error body of Kling's as CometAPI has also answered it: inside ``data.data``, without a code outside [C]."""
    message = body["message"]
    return {"message": message, "data": {"message": message, "data": body}}


def task_not_found(*, official: bool) -> ApiError:
    """The error for a task that is unknown, expired or another account's."""
    return kling_error(1203, "task not found") if official else ApiError(400, "task_not_exist", "task_not_exist")
