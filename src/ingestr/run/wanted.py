"""What the user wants of one table, held against what there is: which columns, under which names, of which types."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as replace_fields

from ingestr.core.column_spec import ColumnSpec
from ingestr.core.naming import NameRule
from ingestr.core.strategy import WriteStrategy
from ingestr.destinations.base import Target
from ingestr.errors import ConfigurationError
from ingestr.ledger.state import KeptNames
from ingestr.options import IngestOptions
from ingestr.run.columns import ColumnNames, FieldNow, choose_columns, settle_naming
from ingestr.run.context import Run
from ingestr.run.declared import check_names, new_names, number_types, only_declared, resolve
from ingestr.run.predicate import parse_predicate
from ingestr.run.selection import Selection, select
from ingestr.run.treatment import settle_treatment


@dataclass(frozen=True)
class Wanted:
    """What the user wants of one table.

    Args:
        chosen: what to read, how to write it, and by which keys.
        specs: field → what was asked for its column.
        rule: how new names are made.
        given: field → column, of the fields whose columns have a name.
        options: the options, with the naming settled.
    """

    chosen: Selection
    specs: Mapping[str, ColumnSpec]
    rule: NameRule
    given: Mapping[str, str]
    options: IngestOptions


def settle_wanted(one: Run, kept: KeptNames, current: Target | None) -> Wanted:
    """Resolve every name that the user wrote.

    Args:
        one: the run; a condition for its merge is noted there.
        kept: what is kept of the target's columns.
        current: the table as it stands, or None.

    Raises:
        ConfigurationError: a name that is none, or a strategy that cannot be had.
    """
    options, stream, capabilities = one.options, one.stream, one.destination.capabilities
    naming = settle_naming(options.schema_naming, kept, current, stream.schema.names)
    given = {name: each.column for name, each in kept.fields.items()} if kept.naming == naming else {}
    named = replace_fields(options, schema_naming=naming)
    specs = resolve(stream, options.columns, given, naming)
    given |= new_names(specs)
    chosen = select(stream, named, options.primary_key, given, options.incremental_strategy)
    if options.no_inference:
        chosen = only_declared(stream, chosen, specs)
    if (reason := capabilities.refuses(chosen.strategy)) is not None:
        raise ConfigurationError(f"the destination cannot do {chosen.strategy}: {reason}")
    if options.incremental_predicate is not None:
        if chosen.strategy is not WriteStrategy.MERGE:
            raise ConfigurationError(
                f"--incremental-predicate belongs to a merge, and {options.source_table} is written by "
                f"{chosen.strategy}",
                hint="leave it out, or add --incremental-strategy merge",
            )
        one.predicate = parse_predicate(options.incremental_predicate, capabilities.dialect, current)
    return Wanted(chosen, specs, NameRule(naming, capabilities.longest_name, new_names(specs)), given, named)


def settle_columns(
    one: Run, wanted: Wanted, kept: KeptNames, current: Target | None, *, rewrite: bool
) -> tuple[Selection, ColumnNames]:
    """Settle types, masks and names of the columns; the run's treatment of values is noted there.

    Raises:
        ConfigurationError: columns that are there have another type, name or mask than is wanted.
    """
    stream, chosen = one.stream, wanted.chosen
    if not rewrite:
        check_names(kept, current, wanted.rule.renamed)
    if types := number_types(stream, wanted.options, wanted.specs, kept, None if rewrite else current):
        stream.declare(types)
        retyped = (replace_fields(each, type=types.get(each.name, each.type)) for each in chosen.columns)
        chosen = replace_fields(chosen, columns=tuple(retyped))
    treatment = one.treatment = settle_treatment(stream, wanted.options, chosen, wanted.given, one.mask_key)
    now = {
        each.name: FieldNow(str(treatment.type_of(each)), treatment.mask_of(each.name))
        for each in stream.schema.columns
    }
    fields = [column.name for column in chosen.columns]
    return chosen, choose_columns(kept, current, now, fields, wanted.rule, rewrite=rewrite, note=one.note)
