"""Stands in for ``docker`` when the commands of docs/containers.md are run: hands them to the test.

usage: python docker_program.py SOCKET WORD…
"""

from __future__ import annotations

import json
import socket
import sys


def main() -> None:
    """Send the words and standard input; give back output and exit code."""
    stdin = "" if sys.stdin.isatty() else sys.stdin.read()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(sys.argv[1])
        with connection.makefile("rw", encoding="latin-1") as stream:
            stream.write(json.dumps({"words": sys.argv[2:], "stdin": stdin}) + "\n")
            stream.flush()
            answer = json.loads(stream.readline())
    sys.stdout.write(answer["output"])
    sys.exit(answer["code"])


sys.stdin.reconfigure(encoding="latin-1")  # type: ignore[union-attr]
sys.stdout.reconfigure(encoding="latin-1")  # type: ignore[union-attr]
main()
