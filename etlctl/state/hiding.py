"""Takes secrets out of what must be stored and come back byte for byte: each is replaced by a mark that names it.

The mark is a hash of the secret's form. Whoever reads what was stored must know the same secrets, as the same contract
does: without them it is of no use to anybody.
"""

from __future__ import annotations

import hashlib
import re

from etlctl.errors import StateError
from etlctl.redact import Redactor

_MARK = re.compile(rb"\x00etlctl-secret:([0-9a-f]{64})\x00")
_BEGIN = b"\x00etlctl-secret:"


class Hiding:
    """Replaces secrets by marks, and marks by secrets.

    Args:
        redactor: Knows the secrets; those it learns later count too.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def hidden(self, content: bytes) -> bytes:
        """Return the content without secrets.

        Raises:
            StateError: It holds what looks like a mark.
        """
        if _BEGIN in content:
            raise StateError(
                "a request holds the very bytes that stand for a secret in the outbox, so it cannot be kept",
                help="take the NUL characters out of the records, for example with a jsonata or an add step",
            )
        forms = [form.encode("utf-8", "surrogatepass") for form in self._redactor.forms]
        if not any(form in content for form in forms):
            return content
        # In one pass, the longest first: a short secret must not be found in the mark of another.
        return re.sub(b"|".join(map(re.escape, forms)), lambda found: _mark(found[0]), content)

    def shown(self, content: bytes) -> bytes:
        """Return the content of ``hidden`` as it was.

        Raises:
            StateError: A secret in it is not known any more.
        """
        if _BEGIN not in content:
            return content
        known = {_name(form): form for form in (one.encode("utf-8", "surrogatepass") for one in self._redactor.forms)}

        def secret(found: re.Match[bytes]) -> bytes:
            if found[1] not in known:
                raise StateError(
                    "a request that was kept in the outbox holds a secret that the contract does not know any more: it "
                    "cannot be sent again with the same bytes",
                    help="give the contract the secret it had when the run began, resume, and change it then; or begin "
                    "anew, so that what was sent may come twice: etlctl run … --restart",
                )
            return known[found[1]]

        return _MARK.sub(secret, content)


def _name(form: bytes) -> bytes:
    return hashlib.sha256(b"etlctl outbox " + form).hexdigest().encode()


def _mark(form: bytes) -> bytes:
    return _BEGIN + _name(form) + b"\x00"
