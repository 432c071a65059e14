#!/bin/sh
# Copies two tables of a simulated org into sf.db, changes nothing, runs again, and looks at the result.
# BIN is the folder of the environment's programs.
set -eu
port=${PORT:-18080}
talk=$(mktemp)

"$BIN/ingestr" simulate --port "$port" --rows 1000 2>"$talk" &
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

echo "A simulated Salesforce org listens on port $port; SOURCE_URI and DESTINATION_URI are set."
run --source-table account --dest-table public.account
run --source-table custom:My__Community_Group__c --dest-table public.community_group
echo
echo "Once more: only what changed is read."
run --source-table account --dest-table public.account

printf '\nWhat sf.db holds now:\n'
"$BIN/python" - <<'PY'
import duckdb

with duckdb.connect("sf.db", read_only=True) as db:
    db.sql("""
        SELECT table_schema || '.' || table_name AS "table", count(*) AS columns
        FROM information_schema.columns GROUP BY ALL ORDER BY ALL
    """).show()
    db.sql("""
        SELECT id, name, annual_revenue, created_date, is_deleted FROM public.account ORDER BY created_date DESC LIMIT 5
    """).show()
    db.sql("SELECT table_name, source_object, cursor_field, cursor_value FROM _ingestr.state").show()
PY
