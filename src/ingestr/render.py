"""Results and plans as text for people and as JSON for programs."""

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ingestr.core.wording import about_bytes, about_time, counted

_PLATFORM = "Salesforce"

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingestr.core.cursor import Window
    from ingestr.result import IngestResult, SessionResult
    from ingestr.run.many import SessionPlan
    from ingestr.run.preview import Covered, Preview
    from ingestr.sources.base import ReadPlan, Usage


def result_event(result: "IngestResult") -> dict[str, Any]:
    """A result as one line of JSON."""
    window = result.window
    return {
        "event": "result",
        "source_object": result.source_object,
        "dest_table": result.dest_table,
        "strategy": str(result.strategy),
        "read_by": result.read_by,
        "rows_read": result.rows_read,
        "rows_inserted": result.rows_inserted,
        "rows_updated": result.rows_updated,
        "rows_unchanged": result.rows_unchanged,
        "rows_deleted": result.rows_deleted,
        "rows_in_source": result.rows_in_source,
        "rows_in_destination": result.rows_in_destination,
        "rows_quarantined": result.rows_quarantined,
        "duplicates": result.duplicates,
        "resumed": result.resumed,
        "window_start": window.start.isoformat() if window and window.start else None,
        "window_end": window.end.isoformat() if window and window.end else None,
        "api_calls": result.usage.calls,
        "api_used": result.usage.used,
        "api_limit": result.usage.limit,
        "seconds": round(result.seconds, 3),
        "notes": list(result.notes),
    }


def result_text(result: "IngestResult") -> str:
    """A result in two lines."""
    usage = result.usage
    counts = f"{result.rows_inserted:,} inserted, {result.rows_updated:,} updated, {result.rows_unchanged:,} unchanged"
    if result.rows_deleted:
        counts += f", {result.rows_deleted:,} found deleted"
    if result.strategy in ("replace", "truncate+insert"):
        counts = f"the table now holds {result.rows_inserted:,}"
    if result.rows_quarantined:
        counts += f", {result.rows_quarantined:,} in quarantine"
    if result.rows_in_source is not None:
        counts += f"; live rows: {result.rows_in_source:,} in Salesforce, {result.rows_in_destination:,} here"
    return (
        f"{result.dest_table}: {counted(result.rows_read, 'row')} of {result.source_object} read by {result.read_by}, "
        f"{counts} ({result.strategy}, {result.seconds:.1f} s)\n"
        f"API calls: {usage.calls}{_allowance(usage)}"
    )


def _allowance(usage: "Usage") -> str:
    return f"; the org has used {usage.used:,} of {usage.limit:,}" if usage.used is not None and usage.limit else ""


def session_event(result: "SessionResult") -> dict[str, Any]:
    """What a session did, as one line of JSON: the result of each table, or why there is none."""
    tables = []
    for each in result.tables:
        told: dict[str, Any] = {"source_table": each.source_table, "outcome": str(each.outcome)}
        if each.result is not None:
            told |= {name: value for name, value in result_event(each.result).items() if name != "event"}
        if each.error is not None:
            told |= {"error": str(each.error), "hint": each.error.hint, "exit_code": each.error.exit_code}
        if each.reason:
            told["reason"] = each.reason
        tables.append(told)
    return {
        "event": "session",
        "tables": tables,
        **{str(outcome).replace(" ", "_"): number for outcome, number in result.counts.items()},
        "api_calls": result.usage.calls,
        "api_used": result.usage.used,
        "api_limit": result.usage.limit,
        "seconds": round(result.seconds, 3),
        "exit_code": result.exit_code,
        "notes": list(result.notes),
        "consistency": plain(asdict(result.consistency)) if result.consistency is not None else None,
    }


def session_text(result: "SessionResult") -> str:
    """What a session did: a line a table, those that need somebody's attention last."""
    done = [each.result for each in result.tables if each.result is not None]
    width = max((len(each.dest_table) for each in done), default=0)
    lines = [_table_line(each, width) for each in done]
    others = [each for each in result.tables if each.result is None and each.error is None]
    lines += _by_reason([(f"{each.outcome}: {each.reason}", each.source_table) for each in others])
    lines += [f"note: {note}" for note in result.notes]
    for each in result.tables:
        lines += [f"note: {each.source_table}: {note}" for note in (each.result.notes if each.result else ())]
    for each in result.tables:
        if each.error is not None:
            lines.append(f"failed: {each.source_table}: {each.error}")
            lines += [f"  hint: {each.error.hint}"] if each.error.hint else []
    lines += _consistency(result)
    rows = counted(sum(each.rows_read for each in done), "row")
    counts = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(result.counts.items()))
    lines.append(f"{counted(len(result.tables), 'table')}: {counts}; {rows} read in {result.seconds:.1f} s")
    lines.append(f"API calls: {result.usage.calls}{_allowance(result.usage)}")
    return "\n".join(lines)


def _consistency(result: "SessionResult") -> list[str]:
    """At which moment the tables end, and how they fit together."""
    found = result.consistency
    if found is None:
        return []
    tables = counted(sum(each.result is not None for each in result.tables), "table")
    ends = f"consistent: {tables} up to {_moment(found.until)}"
    if found.references is None:
        return [f"{ends}; references between them not checked"]
    lost = counted(len(found.orphans), "column") + " with orphans" if found.orphans else "no orphans"
    checked = f"{counted(found.references, 'reference')} between them checked, {lost}"
    return [*(f"orphans: {each}" for each in found.orphans), f"{ends}; {checked}"]


def _by_reason(tables: list[tuple[str, str]]) -> list[str]:
    """A line for each reason, with the tables that it holds for."""
    reasons = dict.fromkeys(reason for reason, _ in tables)
    return [f"{reason}: {', '.join(table for why, table in tables if why == reason)}" for reason in reasons]


def _table_line(result: "IngestResult", width: int) -> str:
    holds = f"{result.rows_in_destination:,} here"
    if result.rows_in_source is not None:
        holds += f" and {result.rows_in_source:,} live in {_PLATFORM}"
    changed = [
        (result.rows_inserted, "inserted"),
        (result.rows_updated, "updated"),
        (result.rows_deleted, "found deleted"),
        (result.rows_quarantined, "in quarantine"),
    ]
    counts = ", ".join(f"{number:,} {what}" for number, what in changed if number) or "nothing changed"
    return f"{result.dest_table:<{width}}  {counted(result.rows_read, 'row')} read, {counts}; {holds}"


def plans_events(plan: "SessionPlan") -> list[dict[str, Any]]:
    """The plan of each of several tables as one line of JSON, or why there is none, and a last line for all."""
    events: list[dict[str, Any]] = []
    for table, found in plan.tables:
        if isinstance(found, Exception):
            told = {"error": str(found), "hint": found.hint, "exit_code": found.exit_code}
            events.append({"event": "plan", "source_table": table, **told})
        else:
            events.append({**plan_event(found), "source_table": table})
    total = {
        "event": "plans",
        "tables": len(plan.tables),
        **_sums(plan.reads),
        "seconds": round(plan.seconds, 1),
        "tables_in_flight": plan.in_flight,
        "unknown": plan.unknown,
        "failed": len(plan.failed),
        "left_out": [asdict(each) for each in plan.left_out],
        "api_calls": plan.usage.calls,
        "api_used": plan.usage.used,
        "api_limit": plan.usage.limit,
    }
    return [*events, total]


def _sums(reads: "Sequence[ReadPlan]") -> dict[str, int]:
    """Rows, calls and bytes of all reads, as far as they are known."""
    return {name: sum(getattr(read, name) or 0 for read in reads) for name in ("rows", "calls", "bytes")}


def plans_text(plan: "SessionPlan") -> str:
    """The plans of several tables: a line each, and the sum."""
    lines = []
    width = max((len(table) for table, _ in plan.tables), default=0)
    for table, found in plan.tables:
        if isinstance(found, Exception):
            lines.append(f"{table:<{width}}  cannot be planned: {found}")
            continue
        takes = f", {takes}" if (takes := _takes(found.read)) else ""
        lines.append(
            f"{table:<{width}}  {found.strategy} into {found.dest_table}: {_window(found.window)}, "
            f"{_reads(found.read)} by {found.read.api}{takes}"
        )
    lines += _by_reason([(f"left out: {each.reason}", each.source_table) for each in plan.left_out])
    sums, usage = _sums(plan.reads), plan.usage
    more = f", and what {counted(plan.unknown, 'table')} of unknown size take" if plan.unknown else ""
    lines.append(
        f"{counted(len(plan.tables), 'table')}: about {counted(sums['rows'], 'row')} in about "
        f"{counted(sums['calls'], 'API call')}, {about_bytes(sums['bytes'])} and {about_time(plan.seconds)} with "
        f"{counted(plan.in_flight, 'table')} in flight{more}; nothing was written"
    )
    lines.append(f"API calls for these plans: {usage.calls}{_allowance(usage)}")
    return "\n".join(lines)


def _reads(read: "ReadPlan") -> str:
    rows = "an unknown number of rows" if read.rows is None else f"about {counted(read.rows, 'row')}"
    return rows + ("" if read.calls is None else f" in about {counted(read.calls, 'API call')}")


def _takes(read: "ReadPlan") -> str:
    """What a read downloads and how long it takes; empty where nobody can tell."""
    if read.bytes is None or read.seconds is None:
        return ""
    return f"{about_bytes(read.bytes)}, {about_time(read.seconds)}"


def plan_event(plan: "Preview") -> dict[str, Any]:
    """A plan as one line of JSON: every value of it, moments in ISO 8601."""
    facts: dict[str, Any] = plain(asdict(plan))
    return {"event": "plan", **facts}


def plain(value: Any) -> Any:
    """A value as JSON has it: moments in ISO 8601."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def plan_text(plan: "Preview") -> str:
    """A plan in some lines, each of which begins with what it is about."""
    read = plan.read
    lines = [("target", _target(plan)), ("strategy", f"{plan.strategy}, because of {plan.reason}{_keys(plan)}")]
    if plan.resumed is not None:
        lines.append(("resumes", f"a read that was broken off, as of {_moment(plan.resumed)}"))
    lines += [
        ("reads", f"{_window(plan.window)}: {_reads(read)}"),
        ("by", f"{read.api}: {read.reason}" + (f"; or else {read.otherwise}" if read.otherwise else "")),
        ("takes", _takes_whence(read)),
        ("query", read.query),
        ("covers", f"now {_covered(plan.covered)}, afterwards {_covered(plan.covers)}"),
        ("compared", "live rows of both sides, in the end" if plan.compared else "no"),
    ]
    if plan.recalculation:
        lines.append(("formulas", _formulas(plan)))
    changes = {
        "adds columns": plan.added,
        "widens columns": plan.widened,
        "checks columns": plan.checked,
        "leaves out": plan.absent,
        "masks": plan.masked,
    }
    lines += [(name, ", ".join(names)) for name, names in changes.items() if names]
    lines += [("note", note) for note in plan.notes]
    lines.append(("cost", f"{counted(plan.usage.calls, 'API call')} for this plan; nothing was written"))
    return "\n".join(f"{name:<15}{text}" for name, text in lines)


def _takes_whence(read: "ReadPlan") -> str:
    takes = _takes(read)
    if not takes:
        return "nobody knows how long"
    whence = "by what its largest load took for a row" if read.measured else "by its fields, as no load was measured"
    return f"{takes}, {whence}"


def _target(plan: "Preview") -> str:
    if not plan.exists:
        return f"{plan.dest_table}, which is not there yet"
    things = f"; it has {', '.join(plan.things)}" if plan.things else ""
    return f"{plan.dest_table}, " + ("which is made anew" if plan.made_anew else "which stays") + things


def _formulas(plan: "Preview") -> str:
    if plan.recalculating is None:
        return f"not read again: {plan.recalculation}"
    calls = plan.recalculating.calls
    cost = "" if calls is None else f" in about {counted(calls, 'API call')} more"
    return f"{', '.join(plan.recalculated)} read again of all rows{cost}: {plan.recalculation}"


def _keys(plan: "Preview") -> str:
    key = f"; key {', '.join(plan.primary_key)}" if plan.primary_key else "; no key"
    return key + (f", by {plan.cursor}" if plan.cursor else "")


def _window(window: "Window | None") -> str:
    if window is None:
        return "everything"
    start = f" from {_moment(window.start)}" if window.start else ""
    end = f" to {_moment(window.end)}" if window.end else ""
    return f"{window.field}{start}{end}" + (" inclusive" if window.end and window.end_inclusive else "")


def _covered(covered: "Covered | None") -> str:
    if covered is None:
        return "nothing that is kept"
    start = "everything" if covered.start is None else f"changes from {_moment(covered.start)}"
    return f"{start} up to {_moment(covered.end)}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
