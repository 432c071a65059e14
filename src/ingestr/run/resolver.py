"""What the user wants of one table, held against what there is: which columns, under which names, of which types."""

from dataclasses import replace as replace_fields

from sqlglot import exp

from ingestr.core.naming import NameRule
from ingestr.core.secret import Secret
from ingestr.core.strategy import WriteStrategy
from ingestr.errors import ConfigurationError
from ingestr.flags import Flag
from ingestr.ledger.mask_key import keep_key
from ingestr.ledger.state import read_names
from ingestr.options import IngestOptions
from ingestr.run.columns import Columns, FieldNow, choose_columns, settle_naming
from ingestr.run.declared import check_names, new_names, number_types, only_declared, resolve
from ingestr.run.predicate import parse_predicate
from ingestr.run.reading import FieldNames, Reading, select
from ingestr.run.session import Session
from ingestr.run.treatment import settle_treatment
from ingestr.strategies import STRATEGIES


class Resolver:
    """Resolves what the user wrote, step by step, against the stream and the table as it stands.

    Args:
        session: the open ends.
        options: what the user wrote.
        dry: whether nothing may be written.

    Attributes:
        current: the table as it stands, or None.
        kept: what is kept of its columns.
        names: what the user's names of fields stand for.
        specs: field → what was asked for its column.

    Raises:
        ConfigurationError: a column that there is not.
    """

    def __init__(self, session: Session, options: IngestOptions, *, dry: bool) -> None:
        self._session, self._options, self._dry = session, options, dry
        stream, self.current = session.stream, session.ledger.target
        self.kept = read_names(session.ledger, stream.source_object)
        naming = settle_naming(options.schema_naming, self.kept, self.current, stream.schema.names)
        same = self.kept.naming == naming
        given = {name: each.column for name, each in self.kept.fields.items()} if same else {}
        names = FieldNames(stream, given, naming)
        self.specs = resolve(options.columns, names)
        self.names = names.with_columns(new_names(self.specs))

    def reading(self) -> tuple[Reading, WriteStrategy]:
        """What is read, and how it is written.

        Raises:
            ConfigurationError: a name that is none, or a strategy that cannot be had.
        """
        options, stream = self._options, self._session.stream
        reading, strategy = select(stream, options, self.names, options.primary_key, options.incremental_strategy)
        if options.no_inference:
            reading = only_declared(stream, reading, STRATEGIES[strategy].TRAITS, self.specs)
        if (reason := self._session.destination.capabilities.refuses(strategy)) is not None:
            raise ConfigurationError(f"the destination cannot do {strategy}: {reason}")
        return reading, strategy

    def predicate(self, strategy: WriteStrategy) -> exp.Expr | None:
        """Which rows of the target a merge may change; None for all.

        Raises:
            ConfigurationError: it is no condition, or there is no merge.
        """
        text = self._options.incremental_predicate
        if text is None:
            return None
        if strategy is not WriteStrategy.MERGE:
            raise ConfigurationError(
                f"{Flag.INCREMENTAL_PREDICATE} belongs to a merge, and {self._options.source_table} is written by "
                f"{strategy}",
                hint=f"leave it out, or add {Flag.INCREMENTAL_STRATEGY} merge",
            )
        return parse_predicate(text, self._session.destination.capabilities.dialect, self.current)

    def columns(self, reading: Reading, strategy: WriteStrategy, *, rewrite: bool) -> tuple[Reading, Columns]:
        """Types, masks and names of the columns; numbers are read as decimals from here on where that is wanted.

        Raises:
            ConfigurationError: columns that are there have another type, name or mask than is wanted.
        """
        session, options, stream, names = self._session, self._options, self._session.stream, self.names
        renamed = new_names(self.specs)
        if not rewrite:
            check_names(self.kept, self.current, renamed)
        if types := number_types(stream, options, self.specs, self.kept, None if rewrite else self.current):
            stream.declare(types)
            retyped = (replace_fields(each, type=types.get(each.name, each.type)) for each in reading.fields)
            reading = replace_fields(reading, fields=tuple(retyped))

        def key() -> Secret:
            kept = (session.destination, session.ledger, session.began)
            return options.mask_key or keep_key(*kept, write=not self._dry)

        treatment = settle_treatment(stream, options, names, reading, STRATEGIES[strategy].TRAITS, key)
        now = {
            each.name: FieldNow(str(treatment.type_of(each)), treatment.mask_of(each.name))
            for each in stream.schema.columns
        }
        rule = NameRule(names.naming, session.destination.capabilities.longest_name, renamed)
        fields = [each.name for each in reading.fields]
        columns = choose_columns(self.kept, self.current, now, fields, rule, rewrite=rewrite, note=session.note)
        return reading, replace_fields(columns, treatment=treatment)
