"""What a later run must know to go on with a job, as text in a table: read back, it is checked like any input."""

import json
import logging
from dataclasses import asdict, dataclass
from typing import Self

from ingestr.sources.salesforce.http.checks import is_id, is_version
from ingestr.sources.salesforce.read.spool import is_folder_name

log = logging.getLogger("ingestr.salesforce")


@dataclass(frozen=True)
class ResumeToken:
    """A job whose rows were not all committed.

    Args:
        job_id: the job.
        version: the API version that made it: no other may read its results.
        pages: name of the folder of its pages; job ids are not unique beyond one org.
    """

    job_id: str
    version: str
    pages: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read what ``str`` wrote; None where it is damaged, foreign, or of a version of ingestr that says more."""
        try:
            token = cls(**json.loads(text))
        except (ValueError, TypeError, RecursionError):
            token = None
        if token is None or not (is_id(token.job_id) and is_version(token.version) and is_folder_name(token.pages)):
            log.debug("what a run before left cannot be read, and is left alone")
            return None
        return token

    def __str__(self) -> str:
        return json.dumps(asdict(self))
