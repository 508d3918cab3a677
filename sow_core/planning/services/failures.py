"""From what a service or a network did to one of our kinds. The packages' own error classes are not imported:
they differ between versions, and the numbers and names inside them do not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ...outside.http import NoReply
from ..config import Access
from ..errors import PlannerError

_DECLINED = frozenset(
    "SAFETY RECITATION BLOCKLIST PROHIBITED_CONTENT SPII IMAGE_SAFETY IMAGE_PROHIBITED_CONTENT IMAGE_RECITATION "
    "IMAGE_OTHER CONTENT_FILTER REFUSAL JAILBREAK".split()
)


def checked_text(text: str, finish: str, block: str, access: Access) -> str:
    """The text of an answer. Raises PlannerError if the service declined or said nothing."""
    if block or finish.upper() in _DECLINED:
        raise PlannerError("blocked", access.service, detail=block or finish)
    if not text.strip():
        thinking = (
            "it used up its tokens while thinking" if finish.upper() in ("MAX_TOKENS", "LENGTH") else finish
        )
        raise PlannerError("empty", access.service, detail=thinking or "no reason given")
    return text


def from_status(
    status: int, message: str, details: Any, access: Access, model: str, retry_after: float | None = None
) -> PlannerError:
    """From an HTTP status with the service's message and structured details."""
    items = [d for d in details if isinstance(d, Mapping)] if isinstance(details, list) else []
    told = json.dumps(items, default=str) + message
    wait = retry_after if retry_after is not None else _retry_delay(items)
    said = access.scrub(_tidy(message)) or f"HTTP {status}"

    def kind(name: str, **words: Any) -> PlannerError:
        return PlannerError(name, access.service, detail=said, model=model, **words)

    if 300 <= status < 400:
        return redirected(access)
    if status == 400 and "API_KEY_INVALID" in told:
        return kind("bad_key")
    if status in (400, 403) and "location is not supported" in told.lower():
        return kind("region")
    if status in (401, 403):
        return kind("leaked_key" if "leaked" in told.lower() else "bad_key")
    if status == 404:
        return kind("model_gone")
    if status in (408, 504):
        return PlannerError("timeout", access.service, detail="its own time limit", retry_after=wait)
    if status == 429:
        daily = "PerDay" in told or "insufficient_quota" in told
        return kind("quota_day") if daily else kind("quota_minute", retry_after=wait)
    if status >= 500:
        return PlannerError("overloaded", access.service, detail=f"HTTP {status}", retry_after=wait)
    return kind("other")


def from_exception(error: BaseException, access: Access, timeout: float) -> PlannerError:
    """From an exception without a status: the network, a time limit, or a page that is not the service's."""
    chain = list(_chain(error))
    names = " ".join(cls.__name__ for e in chain for cls in type(e).__mro__)
    # urllib3 derives "could not connect" from its time-out class.
    if "Timeout" in names and "NewConnectionError" not in names:
        return timed_out(access, timeout)
    if re.search(r"JSONDecodeError|ParseError|DecodeError", names):
        return something_else(access)
    if "Redirect" in names:
        return redirected(access)
    if re.search(
        r"Connect|Connection|Protocol|SSL|Proxy|URLError|Network|Transport|IncompleteRead|OSError", names
    ):
        return PlannerError("network", access.service, detail=_network_words(chain))
    detail = access.scrub(f"{type(error).__name__}: {_tidy(str(error))}")
    return PlannerError("other", access.service, detail=detail)


def from_no_reply(error: NoReply, access: Access, timeout: float) -> PlannerError:
    """From our own client, which has told the kinds apart."""
    if error.kind == "timeout":
        return timed_out(access, timeout)
    if error.kind == "redirect":
        return redirected(access)
    if error.kind == "odd":
        return something_else(access)
    return PlannerError("network", access.service, detail=error.words, permanent=error.kind == "large")


def timed_out(access: Access, timeout: float) -> PlannerError:
    return PlannerError(
        "timeout", access.service, detail=f"{timeout:.0f} s" if timeout >= 1 else f"{timeout:.1f} s"
    )


def something_else(access: Access) -> PlannerError:
    """An answer that is not the service's."""
    detail = "its address answered with something else: a login page or a proxy is in between"
    return PlannerError("network", access.service, detail=detail, permanent=True)


def redirected(access: Access) -> PlannerError:
    """The service's address names another one: a key is not carried there."""
    detail = "its address sends us elsewhere, which we do not follow with a key"
    return PlannerError("network", access.service, detail=detail, permanent=True)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and what it wraps, as causes, contexts and arguments."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop(0)
        if current is None or id(current) in seen or len(seen) > 12:
            continue
        seen.add(id(current))
        yield current
        waiting += [current.__cause__, current.__context__, getattr(current, "reason", None)]
        waiting = [e for e in waiting if isinstance(e, BaseException)]


def _network_words(chain: list[BaseException]) -> str:
    """A few words; the packages' own texts carry object addresses and hosts."""
    told = " ".join(str(e) for e in chain)
    if match := re.search(r"\[Errno -?\d+\] ([A-Za-z ,]+)", told):
        return match[1].strip().lower()
    if re.search(r"certificate|SSL", told, re.I):
        return "no trusted encrypted connection"
    return "the connection was dropped"


def _retry_delay(items: list[Mapping[str, Any]]) -> float | None:
    """Seconds of a google.rpc.RetryInfo."""
    for item in items:
        delay = item.get("retryDelay") or item.get("retry_delay")
        if isinstance(delay, Mapping):
            delay = delay.get("seconds")
        if match := re.fullmatch(r"(\d{1,7}(?:\.\d+)?)s?", str(delay or "")):
            return float(match[1])
    return None


def _tidy(message: str) -> str:
    """A service's message without markup and addresses, which may carry more than they should."""
    return " ".join(re.sub(r"<[^>]*>|(?:(?:GET|POST) )?https?://\S+", " ", message).split())
