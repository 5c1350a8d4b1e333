"""Whatever a user can say has its place in the README or docs/, links lead somewhere, tables are tables."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import click
import pytest
from markdown_it import MarkdownIt

from pgpredict.cli.app import COMMANDS, app
from pgpredict.proxy import ProxySettings, make_settings
from pgpredict.proxy.metrics import StatsCollector
from pgpredict.proxy.stats import Stats
from tests.pages import PAGES, ROOT, named

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
CELL_ENDS = re.compile(r"(?<!\\)\|")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{named(page)} links to {target}"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    for page in PAGES[1:]:
        target = str(page.relative_to(ROOT / "docs"))
        assert target == "README.md" or f"({target})" in index, f"{target} is not in docs/README.md"


def test_every_table_is_one() -> None:
    """A row with a cell too many or too few is shown in part, or not as a table."""
    for page in PAGES:
        lines = page.read_text(encoding="utf-8").splitlines()
        inside = 0
        for token in MarkdownIt().enable("table").parse("\n".join(lines)):
            if token.type == "table_open" and token.map:
                rows = lines[token.map[0] : token.map[1]]
                inside += len(rows)
                assert len({len(CELL_ENDS.findall(row)) for row in rows}) == 1, f"{named(page)}: {rows[0]}"
            elif token.type in ("fence", "code_block") and token.map:
                inside += sum(line.lstrip().startswith("|") for line in lines[token.map[0] : token.map[1]])
        # an indented table belongs to a list
        assert inside == sum(line.lstrip().startswith("|") for line in lines), named(page)


def everything() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    command = app.get_command(click.Context(app), name)
    assert command is not None
    check_documented(name, command, everything())


def check_documented(name: str, command: click.Command, text: str) -> None:
    assert f"pgpredict {name}" in text
    for parameter in command.params:
        for option in (*parameter.opts, *parameter.secondary_opts):
            stated = not option.startswith("--") or re.search(rf"{option}(?![-\w])", text)
            # --start is what --no-start takes back
            assert stated or parameter.secondary_opts, f"{name}: {option}"
    if isinstance(command, click.Group):
        for child, subcommand in command.commands.items():
            check_documented(f"{name} {child}", subcommand, text)


def test_every_function_for_users_is_documented() -> None:
    script = next((ROOT / "sql").glob("pgpredict--?.?.?.sql")).read_text(encoding="utf-8")
    functions = set(re.findall(r"CREATE FUNCTION (ml\.\w+)", script))
    views = set(re.findall(r"CREATE VIEW (ml\.\w+)", script))
    assert functions
    assert views
    missing = sorted(name for name in functions | views if name not in everything())
    assert not missing


def sources() -> str:
    """Return all of our code, of the extension and of the commands beside it."""
    files = [
        path
        for package in ("fdw", "rewriter", "onnx_models", "pgpredict", "tests", "scripts", "sql")
        for path in sorted((ROOT / package).rglob("*"))
        if path.suffix in (".py", ".sql", "") and path.is_file()
    ]
    return "\n".join(
        path.read_text(encoding="utf-8") for path in files if path.resolve() != Path(__file__).resolve()
    )


def test_every_environment_variable_is_documented() -> None:
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    names = set(re.findall(r"PGPREDICT_[A-Z]+(?:_[A-Z]+)*", sources()))
    assert "PGPREDICT_HOME" in names
    assert not [name for name in sorted(names) if f"`{name}`" not in text]


def test_every_option_of_the_foreign_server_is_documented() -> None:
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    wrapper = (ROOT / "fdw/wrapper.py").read_text(encoding="utf-8")
    # those of foreign tables are set by the extension
    options = set(re.findall(r"""_options\.get\("(\w+)"\)""", wrapper)) - {"form"}
    assert options
    assert not [name for name in sorted(options) if f"| `{name}` |" not in text]


def test_every_sqlstate_is_documented() -> None:
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    states = set(re.findall(r"""sqlstate ?= ?"([0-9A-Z]{5})"|ERRCODE = '([0-9A-Z]{5})'""", sources()))
    found = {first or second for first, second in states}
    assert "08001" in found
    assert not [state for state in sorted(found) if state not in text]


def test_messages_are_those_of_the_code() -> None:
    """The page quotes messages with … for what varies; every part occurs in the code."""
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    section = text[text.index("## Messages") : text.index("## A backend")]
    quoted = [line.split(" | ")[0].lstrip("| ") for line in section.splitlines() if line.startswith("| ")][1:]
    parts = [part.strip() for message in quoted for part in re.split(r"[…;]", message)]
    code = re.sub(r"""["']\s+f?["']""", "", sources())
    missing = [
        part
        for part in parts
        if part and part not in code and not re.search("PostgreSQL's|Multicorn's", part)
    ]
    assert quoted
    assert not missing


def test_every_algorithm_is_documented() -> None:
    from onnx_models.families import ALGORITHMS

    text = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    assert not [name for name in ALGORITHMS if name not in text]


def test_every_setting_of_the_proxy_is_documented_and_its_example_is_one(tmp_path: Path) -> None:
    text = (ROOT / "docs/proxy.md").read_text(encoding="utf-8")
    names = [field.name.replace("_", "-") for field in dataclasses.fields(ProxySettings)]
    assert not [name for name in names if f"`--{name}" not in text]
    (tmp_path / "proxy.toml").write_text(text[text.index("```toml\n") + 8 : text.index("```\n\n| option")])
    assert make_settings({}, tmp_path / "proxy.toml").connections == 500


def test_every_metric_of_the_proxy_is_documented() -> None:
    text = (ROOT / "docs/proxy.md").read_text(encoding="utf-8")
    names = [metric.name for metric in StatsCollector(Stats()).collect()]
    assert names
    assert not [name for name in names if name not in text]
