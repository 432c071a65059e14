"""A Salesforce org on this machine: real HTTP, deterministic data, faults on demand. It shares no code with the client.

`with SimulatedOrg(rows=200) as org:` serves one at `org.url`; `serve()` is what the command line runs.
"""

from ingestr.simulator.command import serve, source_uris
from ingestr.simulator.faults import Fault
from ingestr.simulator.org import SimulatedOrg
from ingestr.simulator.server import PortError
from ingestr.simulator.wire import Request

__all__ = ["Fault", "PortError", "Request", "SimulatedOrg", "serve", "source_uris"]
