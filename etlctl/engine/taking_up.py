"""How far several destinations are when a run is resumed or begun: read from the tokens of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from etlctl.engine.outlet import Outlet
from etlctl.engine.shares import FANOUT, Ahead
from etlctl.errors import CheckpointError, ResumeRefused
from etlctl.frozen import frozen
from etlctl.sdk.context import WriteContext
from etlctl.sdk.destinations import Destinations
from etlctl.sdk.loader import CommitToken, Loader


@frozen
class TakenUp:
    """Where a resumed run goes on.

    Attributes:
        token: The last batch that all destinations hold.
        redo: Source records of each batch after that which some of them hold.
    """

    token: CommitToken
    redo: tuple[int, ...] = ()


def take_up(outlets: Sequence[Outlet], keeper: Outlet, tokens: Mapping[str, CommitToken], ctx: WriteContext) -> TakenUp:
    """Find out where to go on, and tell each destination what it holds.

    Args:
        outlets: The destinations; changed.
        keeper: The one that commits last.
        tokens: Those of this run, by destination; at least one.
        ctx: Of the run.

    Raises:
        ResumeRefused: The run was begun with other destinations.
        CheckpointError: A destination holds less than it did.
    """
    ahead = {name: Ahead.of(token.account, _step(outlets, name)) for name, token in tokens.items()}
    _refuse_others(tuple(outlet.name for outlet in outlets), ahead)
    for outlet in outlets:
        token = tokens.get(outlet.name)
        outlet.safe = token.seq if token is not None else 0
        outlet.finished = token is not None and token.finished
        outlet.shares = {share.seq: share for share in ahead[outlet.name].shares} if token is not None else {}
    own = tokens.get(keeper.name)
    again = any(one.again for one in ahead.values())
    base = keeper.safe if not again else 0
    finished = any(outlet.finished for outlet in outlets)
    redo = () if finished else _redo(outlets, keeper, base)
    account = {name: value for name, value in own.account.items() if name != FANOUT} if own is not None else {}
    token = CommitToken(
        stream=ctx.stream,
        run=ctx.run_id,
        seq=keeper.safe if finished else base,
        fence=max(token.fence for token in tokens.values()),
        position=own.position if own is not None and (base or finished) else None,
        account=account if base or finished else {},
        finished=finished,
        visible=any(token.visible or token.finished for token in tokens.values()),
    )
    return TakenUp(token, redo)


def _step(outlets: Sequence[Outlet], name: str) -> str:
    return next(outlet.step for outlet in outlets if outlet.name == name)


def _refuse_others(names: tuple[str, ...], ahead: Mapping[str, Ahead]) -> None:
    """Make sure that the run was begun with these destinations."""
    for one in ahead.values():
        if one.names not in {(), names}:
            raise ResumeRefused(
                f"the run was begun with the destinations {', '.join(one.names)}; "
                f"the contract has {', '.join(names)} now",
                help="bring them back, in their order, or begin anew with: etlctl run … --restart",
            )


def _redo(outlets: Sequence[Outlet], keeper: Outlet, base: int) -> tuple[int, ...]:
    """Return the source records of each batch after ``base`` that a destination holds.

    Raises:
        CheckpointError: A destination is behind one that commits after it, or what another holds is not told.
    """
    keeping = [outlet for outlet in outlets if outlet.writer.keeps_tokens]
    furthest = max(keeping, key=lambda outlet: outlet.safe)
    sizes: dict[int, int] = {}
    for outlet in keeping:
        if outlet.safe < keeper.safe:
            raise _fallen_behind(outlet, keeper)
        sizes |= {seq: share.extracted for seq, share in outlet.shares.items() if seq > base}
        if any(seq not in outlet.shares for seq in range(base + 1, outlet.safe + 1)):
            raise _fallen_behind(keeper, outlet)
    return tuple(sizes[seq] for seq in range(base + 1, furthest.safe + 1))


def _fallen_behind(outlet: Outlet, other: Outlet) -> CheckpointError:
    there = f"only batch {outlet.safe:,}" if outlet.safe else "nothing of this run"
    return CheckpointError(
        f"destination {outlet.name} holds {there}, and {other.name} holds batch {other.safe:,}: {outlet.name} was "
        "restored from a backup, emptied or replaced since",
        help="bring the destination back, or begin anew: etlctl run … --restart",
    )


async def half_done(destinations: Destinations, ctx: WriteContext) -> CommitToken | None:
    """Return the token of a run that some destinations show to everybody and others do not have, before any is opened.

    Opening them for a new run would undo what the others have prepared, and nobody could go on with that run.
    """
    runs: dict[str, list[CommitToken]] = {}
    for item in destinations.items:
        token = await item.loader.held(item.context(ctx))
        if token is not None and token.run:
            runs.setdefault(token.run, []).append(token)
    for run, tokens in runs.items():
        shown = [token for token in tokens if token.visible and token.seq]
        if shown and not all(token.visible and token.finished for token in tokens):
            seq = min(token.seq for token in tokens) or max(token.seq for token in tokens)
            fence = max(token.fence for token in tokens)
            return CommitToken(ctx.stream, run, seq, fence, None, visible=True)
    return None


async def left_elsewhere(loader: Loader, ctx: WriteContext) -> Sequence[tuple[Loader, CommitToken]]:
    """Return what unfinished runs hold under names that the contract's destinations do not have any more.

    Nobody who opens the destinations of today would find it: the run was begun with one instead of several of them, or
    they were renamed since.

    Args:
        loader: The loader of the contract, as it is today.
        ctx: Of the run.

    Returns:
        Tokens, each with the loader that told it.
    """
    known, loaders = frozenset({ctx.stream}), [loader]
    if isinstance(loader, Destinations):
        known, loaders = loader.streams(ctx.stream), [item.loader for item in loader.items]
    found = [(one, token) for one in loaders if ctx.stream for token in await one.unfinished(ctx)]
    return [(one, token) for one, token in found if token.stream not in known]


def refuse_left(tokens: Iterable[CommitToken], ctx: WriteContext) -> None:
    """Make sure that nothing which an unfinished run has loaded under another name can be seen.

    Raises:
        ResumeRefused: It can: a new run would load it a second time.
    """
    for token in tokens:
        if not token.visible:
            continue
        name = token.stream.removeprefix(ctx.stream).removeprefix(">")
        whose = f"as its destination {name!r}" if name else "when it had one destination without a name"
        raise ResumeRefused(
            f"run {token.run} of {ctx.stream} stopped after batch {token.seq:,}, and its records are in the "
            f"destination: it loaded them {whose}, which the contract does not have any more, and they would come a "
            "second time",
            help="give the destinations back the names they had, and carry on: etlctl resume --checkpoint "
            f"{token.run}; or, if they may come twice or were removed: etlctl run … --restart",
        )
