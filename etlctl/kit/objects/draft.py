"""What a run has prepared in a bucket and not published yet, and the token that says how far it is.

``orders.csv`` has ``.orders.csv.etlctl/``; a stream has there ``<stream>.json``, its *state*, and objects below
``<stream>/`` that the state speaks of. The state is only ever written under the condition that it is still the one
that was read (If-None-Match, If-Match): so writing it is the commit, and a run with an older fence finds that it has
been overtaken. Keys of drafts have the fence in them: what an overtaken run still uploads is in nobody's way.

The *journal* in the state says what is about to be published. Whoever finds it tells from the destination whether that
has happened; if not, it is undone.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from etlctl.errors import FatalError, FencedError, RetryableError
from etlctl.kit.drafts import Claim
from etlctl.kit.objects.bucket import Bucket
from etlctl.kit.objects.store_errors import Conflict

_VERSION = 1
Journal = Mapping[str, Any]


class Destination(ABC):
    """What only a kind of destination (one object, a data set) knows about its publications."""

    @abstractmethod
    def is_published(self, journal: Journal) -> bool:
        """Tell whether what a journal announces has happened."""

    @abstractmethod
    def undo(self, journal: Journal) -> None:
        """Remove what a publication that has not happened has left."""

    @abstractmethod
    def complete(self, journal: Journal) -> None:
        """Do what is left to do after a publication that has happened."""


def root_of(key: str) -> str:
    """Return the hidden folder beside an object or a data set."""
    folder, slash, name = key.rstrip("/").rpartition("/")
    return f"{folder}{slash}.{name}.etlctl"


def read_state(bucket: Bucket, key: str) -> tuple[dict[str, Any], str] | None:
    """Return a state and its tag; None when there is none.

    Raises:
        FatalError: It is damaged, or of a newer version.
    """
    found = bucket.read(key)
    if found is None:
        return None
    try:
        sealed = json.loads(found[0])
        version, text = sealed["version"], sealed["body"]
        if version == _VERSION and hashlib.sha256(text.encode()).hexdigest() != sealed["sha256"]:
            raise ValueError("its checksum does not fit")
        body: dict[str, Any] = json.loads(text) if version == _VERSION else {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FatalError(
            f"{bucket.url(key)} is damaged: {error}",
            help="what the run had safe cannot be gone by: remove that object, then run again from the beginning",
        ) from error
    if version != _VERSION:
        raise FatalError(
            f"{bucket.url(key)} was written by a newer etlctl (version {version} of its format)",
            help="go on with the newer etlctl",
        )
    return body, found[1]


class Draft:
    """The state and the drafts of one stream at one destination.

    Args:
        bucket: Where the destination is.
        key: The object, or the folder of a data set with a slash at its end.
        claim: Who wants to write.
        destination: Knows about publications.

    Attributes:
        body: The state as it is now.
        held: It is that of the resumed run, to go on from; None when the run begins.
        published: The journal, when the resumed run has published everything.
        newer: The token of a newer holder of the stream: nothing may be written.

    Raises:
        FencedError: A newer holder has taken over in this moment.
    """

    def __init__(self, bucket: Bucket, key: str, claim: Claim, destination: Destination) -> None:
        self.bucket = bucket
        self.key = key
        self.claim = claim
        self.root = root_of(key)
        self.held: Mapping[str, Any] | None = None
        self.published: Journal | None = None
        self.newer: Mapping[str, Any] | None = None
        self._state_key = f"{self.root}/{claim.key}.json"
        self._drafts = f"{self.root}/{claim.key}"
        self._destination = destination
        self._tag: str | None = None
        self._tried: set[str] = set()
        self._unsure = self._overtaken = False
        self.body: dict[str, Any] = self._fresh()
        self._open()

    def _fresh(self) -> dict[str, Any]:
        claim = self.claim
        token = {"stream": claim.stream, "run": claim.holder, "seq": 0, "fence": claim.fence, "position": None}
        return {
            "run": claim.holder,
            "stream": claim.stream,
            "fence": claim.fence,
            "token": token,
            "records": 0,
            "state": None,
            "before": None,
            "journal": None,
        }

    def _open(self) -> None:
        found = read_state(self.bucket, self._state_key)
        if found is not None:
            body, self._tag = found
            if body["fence"] > self.claim.fence:
                self.newer = {**body["token"], "fence": body["fence"]}
                return
            if self._takes_up(body):
                return
        self._write(self._fresh(), probe=True)
        self._sweep(frozenset())

    def _takes_up(self, body: dict[str, Any]) -> bool:
        """Settle what an earlier attempt had begun to publish; go on from its state when it is this run's."""
        mine = self.claim.resume and body["run"] == self.claim.holder
        journal = body["journal"]
        if not mine and journal is None:
            return False
        # Claimed first: from here on an older attempt that still lives can write no state any more.
        self._write({**body, "fence": self.claim.fence} if mine else {**self._fresh(), "journal": journal}, probe=True)
        if journal is not None:
            if self._settle(journal) and mine and journal["token"]["run"] == self.claim.holder:
                self.published = journal
                return True
            self._write({**self.body, "journal": None})
        if not mine:
            return False
        if self.body["state"] is not None:
            self.held = self.body
            self._sweep(frozenset(self.body["state"]["drafts"]))
        return True

    def _settle(self, journal: Journal) -> bool:
        """Complete a publication that has happened, undo one that has not; tell which."""
        if self._destination.is_published(journal):
            self._destination.complete(journal)
            return True
        self._destination.undo(journal)
        return False

    def token(self) -> Mapping[str, Any] | None:
        """Return the token there is: of this run, or of a newer holder of its stream."""
        if self.newer is not None:
            return self.newer
        if self.published is not None:
            token: Mapping[str, Any] = self.published["token"]
            return token
        if self._unsure:
            self._look()
        held: Mapping[str, Any] = self.body["token"]
        return held if held["seq"] else None

    @property
    def holds(self) -> bool:
        """There is, or may be, something that a later attempt goes on from."""
        return self._unsure or self.body["state"] is not None or self.body["journal"] is not None

    def lost(self) -> FencedError | None:
        """Return the error to raise when a newer holder is known to have taken over."""
        if self.newer is None and not self._overtaken:
            return None
        return FencedError(
            f"{self.bucket.url(self.key)} has been taken over by a newer attempt of this run; this one wrote nothing "
            "more to it",
            help="nothing: the newer attempt goes on from what this one had committed",
        )

    def assure(self) -> None:
        """Ask the store whether a newer holder has taken over.

        Raises:
            FencedError: It has.
        """
        found = read_state(self.bucket, self._state_key)
        if found is None or found[0]["write"] not in self._tried:
            self._overtaken = True
        if (lost := self.lost()) is not None:
            raise lost

    def draft_key(self, name: str) -> str:
        """Return a key for a draft: one of this attempt, so that no other one writes it."""
        return f"{self._drafts}/{self.claim.fence:06}-{name}.draft"

    def commit(self, token: Mapping[str, Any], state: Mapping[str, Any], records: int) -> None:
        """Write token and state; the drafts that ``state["drafts"]`` names must be there.

        Raises:
            FencedError: A newer holder has taken over.
            RetryableError: Whether it was written is not known; ``token`` finds out.
        """
        self._write({**self.body, "token": dict(token), "state": dict(state), "records": records})

    def begin(self, journal: Journal) -> None:
        """Write down what is about to be published."""
        self._write({**self.body, "journal": dict(journal)})

    def note(self, **more: Any) -> None:
        """Keep something else with the next state."""
        self.body = {**self.body, **more}

    def clear(self) -> None:
        """Remove the drafts and the state, unless they are a newer holder's."""
        if self.newer is not None or self._overtaken:
            return
        try:
            self.assure()
        except FencedError:
            return
        journal = self.body["journal"]
        if journal is not None and self.published is None:
            self._settle(journal)
        self._sweep(frozenset())
        self.bucket.delete([self._state_key])

    def _sweep(self, keep: frozenset[str]) -> None:
        """Remove drafts that no state speaks of."""
        self.bucket.delete([entry.key for entry in self.bucket.below(self._drafts) if entry.key not in keep])

    def _write(self, body: dict[str, Any], *, probe: bool = False) -> None:
        body = {**body, "write": secrets.token_hex(8)}
        text = json.dumps(body)
        sealed = {"version": _VERSION, "sha256": hashlib.sha256(text.encode()).hexdigest(), "body": text}
        data = json.dumps(sealed).encode()
        self._tried.add(body["write"])
        for _ in range(3):
            try:
                self._tag = self.bucket.put_if(self._state_key, data, self._tag)
            except RetryableError:
                self._unsure = True
                raise
            except Conflict:
                if not self._look():
                    self._overtaken = True
                    raise self.lost() or FencedError(self._state_key) from None
                if self.body["write"] == body["write"]:
                    break  # it was written, and only the answer had been lost
            else:
                break
        self.body, self._unsure = body, False
        if probe and self.bucket.conditional and not self.bucket.probed:
            self._tag = self.bucket.probe(self._state_key, data, self._tag or "")

    def _look(self) -> bool:
        """Read the state as it is; tell whether this attempt has written it."""
        found = read_state(self.bucket, self._state_key)
        if found is None or found[0]["write"] not in self._tried:
            return False
        self.body, self._tag = found
        self._unsure = False
        return True
