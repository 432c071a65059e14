#!/bin/sh
# Copies the tables of ingestr.toml once, for cron. Works in the folder that it lies in, ends with the exit code of ingestr, and
# tells ALERT of each failure; where there is no ALERT, cron mails what is printed. A run that is still going on is left alone.
set -u
umask 077
cd "$(dirname "$(readlink -f "$0")")" && mkdir -p log || exit
log=log/$(date -u +%F).log

say() { echo "$(date -u +%FT%TZ) sync.sh: $*" >>"$log"; }

fail() {
  say "failed with exit code $1"
  # Without the lock, which would be held by whatever ALERT leaves running.
  tail -n 20 "$log" | sh -c "${ALERT:-cat}" alert "$1" 9>&-
  exit "$1"
}

case $(stat -c %a salesforce.env) in
  400 | 600) ;;
  *)
    say "salesforce.env is not there, or not its owner's alone: chmod 600 salesforce.env"
    fail 2
    ;;
esac
set -a
. ./salesforce.env
set +a

# ingestr inherits the lock: it is held while anything runs.
exec 9>>lock
if ! flock --nonblock 9; then
  say "the run before this one is still going on"
  if [ -n "$(find lock -mmin +360)" ]; then
    say "it has been for six hours"
    fail 75
  fi
  exit 0
fi
touch lock
find log -name '*.log' -mtime +30 -delete

ingestr sync --progress log >>"$log" 2>&1
code=$?
if [ $code -ne 0 ]; then fail $code; fi
