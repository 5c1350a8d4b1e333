"""The batch form: one text in, the memory of arrays out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .client import Client
from .errors import InvalidFeatures, ProtocolError
from .interrupts import database
from .runtime import check_answer

OUTPUTS = ("prediction", "probability", "probabilities")


def predict_batch(
    client: Client, roles: Mapping[str, str], quals: Sequence[Any], columns: set[str]
) -> Iterator[dict[str, Any]]:
    """Yield the one row of a batch.

    :param roles: column names by role
    :param quals: conditions; the batch and the artifact must be among them
    :param columns: names of the columns that are needed
    :raises InvalidFeatures: if the batch is missing
    """
    bound = {qual.field_name: qual.value for qual in quals if qual.operator == "="}
    batch, artifact = bound.get(roles["batch"]), bound.get(roles["artifact"])
    if batch is None or artifact is None:
        if roles["batch"] in bound or roles["artifact"] in bound:
            # a NULL on the other side of the join equals nothing
            return
        raise InvalidFeatures(
            "a batch table needs its batch", hint='join it: ... JOIN models."x__batch" m ON m.batch = b.batch'
        )
    wanted = [name for name in OUTPUTS if roles[name] in columns]
    header, blobs = client.request(
        {
            "do": "predict",
            "artifact": artifact,
            "database": database(),
            "outputs": wanted,
        },
        [batch.encode("utf-8", "surrogatepass")],
    )
    check_answer(header)
    names = header.get("outputs", [])
    if names != wanted or len(blobs) != len(wanted):
        raise ProtocolError(f"the inference runtime answered {names!r} to {wanted!r}")
    row = {
        roles["batch"]: batch,
        roles["artifact"]: artifact,
        roles["rows"]: header.get("rows"),
        roles["classes"]: _array(header.get("classes")),
    }
    row.update({roles[name]: bytes(blob) for name, blob in zip(wanted, blobs)})
    yield row


def _array(labels: Any) -> Any:
    """Return an array in PostgreSQL's notation; Multicorn's own quoting leaves backslashes alone."""
    if not labels:
        return None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ProtocolError(f"the inference runtime answered with the classes {labels!r}")
    quoted = ('"' + label.replace("\\", "\\\\").replace('"', '\\"') + '"' for label in labels)
    return "{" + ",".join(quoted) + "}"
