"""What the source tells of a table, kept beside it: labels, help texts, values to choose from. Knows no platform."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from ingestr.ledger.metadata import FIELDS, METADATA, OBJECTS, PICKLIST_VALUES
from ingestr.run.execution import Execution
from ingestr.run.table_plan import TablePlan
from ingestr.sources.base import SourceField


def keep_metadata(execution: Execution, plan: TablePlan) -> None:
    """Leave exactly what the source tells now, in the load's transaction; nothing is written where that is kept."""
    stream, ledger, columns = execution.stream, execution.session.ledger, plan.columns.names
    fields = tuple(stream.fields)
    told = hashlib.sha256(repr((plan.source_object, stream.facts, fields, columns)).encode()).hexdigest()
    kept = [row["fingerprint"] for row in ledger.rows(OBJECTS)]
    if kept == [told] and all(map(ledger.has, METADATA)):
        return
    common = {"source_object": plan.source_object, "loaded_at": execution.session.began}
    # The rows of the table itself are where they belong by now.
    ledger.load(FIELDS, _field_rows(fields, columns, common), plan.target.staging)
    ledger.load(PICKLIST_VALUES, _choice_rows(fields, columns, common), plan.target.staging)
    facts = {
        "label": stream.facts.label or None,
        "plural_label": stream.facts.plural or None,
        "key_prefix": stream.facts.key_prefix or None,
        "is_custom": stream.facts.custom,
        "fingerprint": told,
    }
    execution.destination.execute(ledger.replace(OBJECTS, [{**facts, **common}]))


def _field_rows(
    fields: Iterable[SourceField], columns: dict[str, str], common: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """What is empty is null: zero digits are no digits, but for those behind the point of a number."""
    for position, each in enumerate(fields, 1):
        yield {
            "field": each.name,
            "column_name": columns.get(each.name),
            "position": position,
            "label": each.label or None,
            "help_text": each.help or None,
            "field_type": each.type,
            "length": each.length or None,
            "precision": each.precision or None,
            "scale": each.scale if each.precision else None,
            "is_nullable": each.nullable,
            "is_custom": each.custom,
            "is_calculated": each.calculated,
            "formula": each.formula or None,
            "reference_to": ", ".join(each.references) or None,
            "relationship_name": each.relationship or None,
            **common,
        }


def _choice_rows(
    fields: Iterable[SourceField], columns: dict[str, str], common: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    for each in fields:
        for position, choice in enumerate(each.choices, 1):
            yield {
                "field": each.name,
                "column_name": columns.get(each.name),
                "position": position,
                "value": choice.value,
                "label": choice.label or None,
                "is_active": choice.active,
                "is_default": choice.default,
                **common,
            }
