#!/bin/sh
# Copies a simulated org into sf.db, runs again for one table, and looks at the result.
# BIN is the folder of the environment's programs.
set -eu

# Nothing of the user's own settings counts here: no real org is read.
for name in $(env | sed -n 's/^\(INGESTR_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
unset SOURCE_URI DESTINATION_URI
if [ -e sf.db ]; then
  old=sf.db.$(date +%Y%m%d%H%M%S)
  mv sf.db "$old"
  if [ -e sf.db.wal ]; then mv sf.db.wal "$old.wal"; fi
  echo "The sf.db that was here is $old now."
fi

talk=$(mktemp)
"$BIN/ingestr" simulate --port 0 --rows 1000 2>"$talk" &
org=$!
trap 'kill $org 2>/dev/null; rm -f "$talk"' EXIT INT TERM
until grep -q 'client credentials' "$talk"; do
  kill -0 $org 2>/dev/null || { cat "$talk"; exit 1; }
  sleep 0.1
done

SOURCE_URI=$(sed -n 's/^ *client credentials: //p' "$talk")
DESTINATION_URI=duckdb:///sf.db
export SOURCE_URI DESTINATION_URI

run() {
  printf '\n$ ingestr ingest %s\n' "$*"
  "$BIN/ingestr" ingest "$@"
}

sed -n 's/ (seed.*/; SOURCE_URI and DESTINATION_URI are set./p' "$talk"
run --source-table '*' --dest-table 'public.{table}'
echo
echo "Once more: only what changed is read."
run --source-table account --dest-table public.account

printf '\nWhat sf.db holds now:\n'
"$BIN/python" - <<'PY'
import duckdb

with duckdb.connect("sf.db", read_only=True) as db:
    db.sql("""
        SELECT schema_name || '.' || table_name AS "table", estimated_size AS "rows", column_count AS columns
        FROM duckdb_tables() ORDER BY ALL
    """).show()
    db.sql("""
        SELECT id, name, annual_revenue, created_date, is_deleted FROM public.account ORDER BY created_date DESC LIMIT 5
    """).show()
    db.sql("SELECT table_name, outcome, rows_read, rows_in_destination, api_calls FROM _ingestr.loads LIMIT 5").show()
PY
