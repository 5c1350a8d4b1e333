"""Whether a server answers, asked before it wants to know who asks; from any thread."""

from __future__ import annotations

import contextlib
import socket
import ssl

from .startup import SSL_REQUEST


def ask(sock: socket.socket, context: ssl.SSLContext, name: str, *, required: bool, direct: bool) -> None:
    """See whether a server answers a request for TLS, as it does before any login, and has TLS if it must.

    PostgreSQL has made a process for the connection by then: it is not frozen and not out of processes. One
    that starts, recovers or has no connection left answers as well, and tells that to who logs in.

    :param sock: that is connected, with a timeout
    :param context: of connections to it
    :param name: of the server, for its certificate
    :param required: whether connections are made with TLS only
    :param direct: whether they begin with it
    :raises OSError: if it does not answer, or not as it must
    """
    if not direct:
        sock.sendall(SSL_REQUEST)
        answer = sock.recv(1)
        if answer not in (b"S", b"N"):
            raise ConnectionResetError("it ends the connection" if not answer else "it answers with an error")
        if answer == b"N":
            if required:
                raise ConnectionRefusedError("it does not support TLS")
            return
    try:
        # to its end: one that is broken off would be a line in the server's log, each time
        with context.wrap_socket(sock, server_hostname=name) as encrypted, contextlib.suppress(OSError):
            encrypted.unwrap()
    except ssl.SSLError:
        if required or direct:
            raise
