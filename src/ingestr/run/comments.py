"""Labels and help texts as comments of the table and its columns. Knows no platform and no engine.

A comment of somebody else stays. One of ours follows the source: it is known by being the one that was given last.
"""

from dataclasses import dataclass, replace

from ingestr.core.sql import Statements
from ingestr.ledger.state import KeptNames, comments_of_ours
from ingestr.redaction import visible
from ingestr.run.execution import Execution
from ingestr.run.table_plan import TablePlan
from ingestr.strategies.base import comment_on


@dataclass(frozen=True)
class _Comment:
    """The comment of one column, or of the table.

    Args:
        column: which column; None for the table.
        wanted: what the source says; empty where it says nothing.
        ours: the one that ingestr gave last; None if it gave none.
        stands: the one that stands there now.
    """

    column: str | None
    wanted: str
    ours: str | None
    stands: str | None

    @property
    def is_due(self) -> bool:
        """Whether the source says something new, and nobody else has written there."""
        return bool(self.wanted) and self.wanted != self.ours and self.stands in (None, self.ours)


def settle_comments(execution: Execution, plan: TablePlan) -> tuple[Statements, KeptNames]:
    """Statements that write what is due, and what to keep of the columns then.

    Where the login may not comment on the table, the user is told so once, and nothing is written.
    """
    columns, stream = plan.columns, execution.stream
    before, now = execution.session.ledger.target, execution.table()
    if now is None:
        return [], KeptNames(columns.kept, str(columns.naming))
    of_table, of_columns = comments_of_ours(execution.session.ledger)
    wanted = {each.name: _words(each.label, each.help) for each in stream.fields}
    of_table = of_table if before is not None else None
    on_table = _Comment(None, _words(stream.facts.label), of_table, now.comment)
    on_fields: dict[str, _Comment] = {}
    for field, kept in columns.kept.items():
        if (there := now.find(kept.column)) is not None:
            # A column that was not there when the run began has no comment yet, whatever an earlier one was given.
            was_there = before is not None and before.find(kept.column) is not None
            ours = of_columns.get(kept.column.lower()) if was_there else None
            on_fields[field] = _Comment(there.name, wanted.get(field, ""), ours, there.comment)
    due = [each for each in (on_table, *on_fields.values()) if each.is_due]
    if due and not now.commentable:
        execution.note(f"labels do not become comments of {now.ref}, as only its owner may write these")
        written: Statements = []
    else:
        written = [comment_on(now.ref, each.column, each.wanted) for each in due]
    fields = {
        field: replace(kept, comment=_to_keep(on_fields[field]) if field in on_fields else None)
        for field, kept in columns.kept.items()
    }
    return written, KeptNames(fields, str(columns.naming), _to_keep(on_table))


def _to_keep(comment: _Comment) -> str | None:
    return comment.wanted if comment.is_due else comment.ours


def _words(*texts: str) -> str:
    """A label and a help text in one line, in which nothing is hidden."""
    return ": ".join(filter(None, map(visible, texts)))
