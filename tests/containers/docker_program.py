"""Stands in for ``docker`` when the commands of docs/containers.md are run: hands them to the test.

usage: python docker_program.py SOCKET WORD…
"""

from __future__ import annotations

import json
import socket
import sys


def main() -> None:
    """Send the words and standard input; give back output and exit code."""
    stdin = "" if sys.stdin.isatty() else sys.stdin.buffer.read().decode(errors="surrogateescape")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(sys.argv[1])
        with connection.makefile("rw", encoding="ascii") as stream:
            stream.write(json.dumps({"words": sys.argv[2:], "stdin": stdin}) + "\n")
            stream.flush()
            answer = json.loads(stream.readline())
    sys.stdout.buffer.write(answer["output"].encode(errors="surrogateescape"))
    sys.exit(answer["code"])


main()
