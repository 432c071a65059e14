"""Serves a simulated org with many leads until stdin closes; prints a source URI once it is ready."""

import argparse
import sys

from ingestr.simulator import SimulatedOrg, source_uris


def main() -> None:
    """Parse, grow, serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with SimulatedOrg(rows=100) as org:
        org.api_limit = 100_000_000
        org.grow("Lead", rows)
        print(source_uris(org, org.access_token())["client credentials"], flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
