"""What a run gives back, as an array per chunk and a cast to the type that callers expect."""

from __future__ import annotations

from collections.abc import Sequence

from onnx_models.labels import canonical
from onnx_models.signature import Signature
from rewriter.catalog import ModelInfo
from rewriter.errors import UnknownClass, WrongTask
from rewriter.forms import Call
from rewriter.names import literal, quote
from rewriter.splice import Piece

from .convert import type_name

#: types whose labels we can read as PostgreSQL does; of others only PostgreSQL knows
_READ = ("boolean", "smallint", "integer", "bigint", "text", "character varying")


def check(call: Call, model: ModelInfo, sql: str) -> None:
    """Refuse what the model cannot give.

    :raises WrongTask: for the probability of a number
    :raises UnknownClass: for a class label that the model does not have
    """
    signature = model.signature
    if call.kind != "predict" and not signature.classes:
        raise WrongTask(
            f"model {model.name!r} predicts a number, which has no probability",
            hint=f"write PREDICT({model.name})",
            position=call.position,
        )
    if call.label is None:
        return
    text = _constant(sql[call.label.start : call.label.end])
    label = class_of(call, model, sql)
    if label is not None and label not in signature.classes:
        raise UnknownClass(
            f"model {model.name!r} has no class {text!r}",
            hint=f"its classes: {', '.join(signature.classes)}",
            position=call.label.start + 1,
        )


def class_of(call: Call, model: ModelInfo, sql: str) -> str | None:
    """Return the class after FOR as the signature writes it; None where only PostgreSQL knows it."""
    if call.label is None:
        return None
    text = _constant(sql[call.label.start : call.label.end])
    return None if text is None else _canonical(text, model.signature.target.type)


def _constant(text: str) -> str | None:
    """Return the value of a plain constant; None where only PostgreSQL knows it."""
    if text.startswith("'"):
        return None if "\n" in text else text[1:-1].replace("''", "'")
    return text if text[0].isdigit() or text.lower() in ("true", "false") else None


def _canonical(text: str, type_: str) -> str | None:
    """Return a label as PostgreSQL writes a value of this type; None where we do not know."""
    if type_ not in _READ:
        return None
    try:
        return canonical(text, type_)
    except ValueError:
        return text


def arrays(call: Call, model: ModelInfo, result: str) -> tuple[list[Piece], str | None]:
    """Return the array of a chunk's results, and the type that its elements are cast to.

    :param result: alias of the batch table
    """
    signature = model.signature
    if call.kind == "set":
        return _likeliest(call, signature, result), None
    if call.kind == "predict":
        if not signature.classes:
            return [f"ml.float8s({result}.prediction)"], _cast(signature, "double precision")
        return [f"ml.labels({result}.prediction, {result}.classes)"], _cast(signature, "text")
    if call.label is None:
        return [f"ml.float8s({result}.probability)"], None
    target = type_name(signature.target.type)
    label: Sequence[Piece] = ["(", call.label, f")::{target}::text"]
    return [f"ml.class_probability({result}.probabilities, {result}.classes, ", *label, ")"], None


def _cast(signature: Signature, has: str) -> str | None:
    return None if signature.target.type == has else type_name(signature.target.type)


def _likeliest(call: Call, signature: Signature, result: str) -> list[Piece]:
    top: list[Piece] = ["NULL"] if call.top is None else ["(", call.top, ")"]
    cutoff: list[Piece] = ["0"] if call.cutoff is None else ["(", call.cutoff, ")"]
    return [
        f"ml.likeliest_each({result}.probabilities, {result}.classes, ",
        *top,
        "::integer, ",
        *cutoff,
        f"::double precision, {literal(type_name(signature.target.type))})",
    ]


def join(model: ModelInfo, alias: str, batch: str, *, fenced: bool = False) -> str:
    """Return the JOIN of a model's batch table.

    :param batch: column of the batch text
    :param fenced: whether PostgreSQL must not mix it with other joins: beyond ``join_collapse_limit`` tables
        it keeps an order of its own, in which a batch table may come before its batch
    """
    name = model.name + ("__version" if model.pinned else "__batch")
    condition = f"{alias}.batch OPERATOR(pg_catalog.=) {batch}"
    if model.pinned:
        condition += f" AND {alias}.version OPERATOR(pg_catalog.=) {model.version}"
    source = f"{quote(model.schema)}.{quote(name)} AS {alias}"
    if fenced:
        return f"CROSS JOIN LATERAL (SELECT * FROM {source} WHERE {condition} OFFSET 0) AS {alias}"  # noqa: S608
    return f"JOIN {source} ON {condition}"


def result_type(call: Call, model: ModelInfo) -> str:
    """Return the SQL type of what a form gives."""
    if call.kind == "predict":
        return type_name(model.signature.target.type)
    return "double precision" if call.kind == "probability" else "pg_catalog.jsonb"
