"""How risks and delays are written."""

from __future__ import annotations

from urllib.parse import urlencode

from django import template
from django.http import QueryDict

register = template.Library()


@register.filter
def percent(share: float) -> str:
    """Return a share as a percentage."""
    return f"{100 * share:.1f} %"


@register.filter
def level(risk: float) -> str:
    """Return the style of a risk."""
    return "high" if risk >= 0.5 else "middle" if risk >= 0.25 else "low"


@register.filter
def delay(minutes: int) -> str:
    """Return a delay in words."""
    if minutes == 0:
        return "on time"
    return f"{abs(minutes)} min {'late' if minutes > 0 else 'early'}"


@register.filter
def page(query: QueryDict, number: int) -> str:
    """Return the query of another page of the same list."""
    return "?" + urlencode({**query.dict(), "page": number})
