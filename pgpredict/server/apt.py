"""The machine's own package sources, read from its apt configuration.

The private server is Debian 11's: the addresses are the machine's, only the
suites are exchanged. No mirror's name is written down here.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: suites of Debian's main archive; other archives (PGDG, node, …) have none of ours
_STAGES = ("oldoldstable", "oldstable", "stable", "testing", "unstable", "sid")
DEBIAN_SUITES = frozenset((*_STAGES, "buster", "bullseye", "bookworm", "trixie", "forky", "duke"))
SECURITY_SUFFIXES = ("-security", "/updates")


@dataclass(frozen=True)
class Source:
    """One package source.

    :param uri: address of the archive
    :param suite: release
    :param components: such as ``main``
    :param signed_by: value of ``Signed-By``: a path, fingerprints or an embedded key; empty for apt's default
    """

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""

    def to_deb822(self) -> str:
        """Return the stanza for a ``.sources`` file."""
        lines = [
            "Types: deb",
            f"URIs: {self.uri}",
            f"Suites: {self.suite}",
            f"Components: {' '.join(self.components)}",
        ]
        if self.signed_by:
            lines.append(f"Signed-By: {self.signed_by}")
        return "\n".join(lines) + "\n"


def read_sources(directory: Path) -> list[Source]:
    """Return the enabled binary sources of an apt configuration directory.

    :param directory: such as ``/etc/apt``
    """
    parts = directory / "sources.list.d"
    found: list[Source] = []
    for path in [directory / "sources.list", *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))]:
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        found += parse_deb822(text) if path.suffix == ".sources" else parse_lines(text)
    return found


def parse_lines(text: str) -> Iterator[Source]:
    """Parse the one-line form: ``deb [option=value …] uri suite component…``."""
    for raw in text.splitlines():
        line = raw.partition("#")[0].strip()
        match = re.fullmatch(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)((?:\s+\S+)*)", line)
        if match is None:
            continue
        options = dict(word.split("=", 1) for word in shlex.split(match[1] or "") if "=" in word)
        yield Source(match[2], match[3], tuple(match[4].split()), options.get("signed-by", ""))


def parse_deb822(text: str) -> Iterator[Source]:
    """Parse the form of ``.sources`` files: stanzas of ``Key: value``, continued by indented lines."""
    for stanza in re.split(r"\n[ \t]*\n", text):
        fields = _fields(stanza)
        enabled = fields.get("enabled", "yes").strip().lower() not in {"no", "false", "0", "off", "without"}
        if not enabled or "deb" not in fields.get("types", "").split():
            continue
        components = tuple(fields.get("components", "").split())
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(uri, suite, components, fields.get("signed-by", "").rstrip())


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    key = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t") and key:
            fields[key] += "\n" + line
        elif ":" in line:
            name, _, value = line.partition(":")
            key = name.strip().lower()
            fields[key] = value.strip()
    return fields


def bullseye_sources(sources: Iterable[Source]) -> list[Source]:
    """Return Debian 11's sources at the addresses of the machine's own Debian sources.

    :returns: main archive first, then security; empty if the machine has no Debian archive
    """
    main: dict[str, Source] = {}
    security: dict[str, Source] = {}
    for source in sources:
        if "main" not in source.components or source.uri.startswith("cdrom:"):
            continue
        suite = source.suite.rstrip("/")
        release = suite
        for suffix in SECURITY_SUFFIXES:
            release = release.removesuffix(suffix)
        if release not in DEBIAN_SUITES:
            continue
        chosen, wanted = (main, "bullseye") if release == suite else (security, "bullseye-security")
        chosen.setdefault(source.uri, Source(source.uri, wanted, ("main",), source.signed_by))
    return [*main.values(), *security.values()] if main else []
