"""Defines every error of this provider: one short tree with fields; imports no Airflow.

The message is one sentence that says what happened and what to do. Decisions (retry, fail, adopt) are taken on the
class and the fields, never on the text.
"""

from __future__ import annotations


class KlingError(Exception):
    """Base of all errors of this provider.

    :param message: one sentence: what happened, which value, what to do.
    :param http_status: HTTP status of the answer, None if there was none.
    :param code: the API's own error code as text, e.g. ``"1303"`` or ``"task_not_exist"``.
    :param request_id: the API's id of the call, for a support request.
    :param kling_task_id: the Kling task concerned, where one is known.
    """

    #: The same call may succeed later, without anybody changing anything.
    retryable = False
    #: What became of the money, as a sentence after the message; only where the call was a paid one.
    money = ""

    def __init__(
        self,
        message: str,
        *,
        http_status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        kling_task_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.code = code
        self.request_id = request_id
        self.kling_task_id = kling_task_id

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} {self.money}" if self.money else message


class KlingInputError(KlingError, ValueError):
    """The input breaks a limit of the API; found before anything was sent."""


class KlingConnectionError(KlingError):
    """No complete answer came: refused, reset, timed out.

    :param request_sent: False when it is certain that the API never saw the request (refused, DNS, TLS handshake);
        True when it may have seen and carried it out.
    """

    retryable = True

    def __init__(self, message: str, *, request_sent: bool, kling_task_id: str | None = None) -> None:
        super().__init__(message, kling_task_id=kling_task_id)
        self.request_sent = request_sent


class KlingAPIError(KlingError):
    """The API answered with an error."""


class KlingAuthenticationError(KlingAPIError):
    """The key is missing, wrong or expired (401; 1000-1004)."""


class KlingPermissionError(KlingAPIError):
    """The account may not use this API or model (403; 1103)."""


class KlingAccountError(KlingAPIError):
    """The account cannot pay or is blocked: abnormal, in arrears, pack used up, IP not allowed (1100-1102, 1304)."""


class KlingBadRequestError(KlingAPIError):
    """The API refused the parameters (400; 1200, 1201)."""


class KlingContentRejectedError(KlingAPIError):
    """Moderation refused the input (1300, 1301); the same input never passes."""


class KlingTaskNotFoundError(KlingAPIError):
    """No such task for this account: unknown, expired after 30 days, or another account's (1203, task_not_exist)."""


class KlingRateLimitError(KlingAPIError):
    """Too many requests or too many tasks at once (1302, 1303, other 429); nothing was created.

    :param retry_after: seconds the API asked to wait, None if it did not say.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None, **fields: object) -> None:
        super().__init__(message, **fields)  # type: ignore[arg-type]
        self.retry_after = retry_after


class KlingServerError(KlingAPIError):
    """The API failed (5xx, HTML, an answer that is not its own); whether it acted is unknown.

    :param retry_after: seconds the API asked to wait, None if it did not say.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None, **fields: object) -> None:
        super().__init__(message, **fields)  # type: ignore[arg-type]
        self.retry_after = retry_after


class KlingTaskFailed(KlingError):
    """The generation ended as ``failed``.

    :param status_message: the provider's reason, word for word.
    :param moderated: the reason is a moderation refusal, so the same input never passes.
    """

    def __init__(self, message: str, *, kling_task_id: str, status_message: str = "", moderated: bool = False) -> None:
        super().__init__(message, kling_task_id=kling_task_id)
        self.status_message = status_message
        self.moderated = moderated
        self.retryable = not moderated


class KlingNotFinishedError(KlingError):
    """The generation has not succeeded yet, and this task cannot wait for it; a later try may find it finished."""

    retryable = True


class KlingDownloadError(KlingError):
    """A result could not be fetched, or was refused by the download guard.

    :param url: where from, without its query (which may hold a signature).
    :param retryable: a later try, with a fresh URL, may succeed.
    """

    def __init__(
        self,
        message: str,
        *,
        url: str,
        retryable: bool,
        http_status: int | None = None,
        kling_task_id: str | None = None,
    ) -> None:
        super().__init__(message, http_status=http_status, kling_task_id=kling_task_id)
        self.url = url
        self.retryable = retryable


class KlingImageError(KlingDownloadError):
    """What was downloaded is not a whole, acceptable image or video.

    :ivar whole: all of the body has arrived, and it is no page: it may be a paid result that cannot be verified.
    """

    whole = False


class KlingSubmissionError(KlingError):
    """Whether a paid generation exists cannot be told, or it was made from another input; nothing more was submitted.

    :param external_task_id: the id under which Kling would know the generation.
    :param retryable: a later try can find out without paying twice.
    """

    def __init__(
        self, message: str, *, external_task_id: str, retryable: bool, kling_task_id: str | None = None
    ) -> None:
        super().__init__(message, kling_task_id=kling_task_id)
        self.external_task_id = external_task_id
        self.retryable = retryable
