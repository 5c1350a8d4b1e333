"""TLS with clients."""

from __future__ import annotations

import ssl

from pgpredict.errors import InvalidInput

from .settings import ProxySettings
from .upstream import ALPN


def client_context(settings: ProxySettings) -> ssl.SSLContext | None:
    """Return the context of connections with clients, None without a certificate.

    :raises InvalidInput: if a file cannot be used
    """
    if not settings.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ALPN])
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
        if settings.client_ca:
            context.load_verify_locations(settings.client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput(f"cannot use the files of TLS with clients: {error}") from error
    return context
