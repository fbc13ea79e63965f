"""A process that has imported etlctl once and forks a real child for each command: quick starts, real kills.

Reads one JSON command a line: ``{"argv": […], "cwd": "…", "env": {…}, "out": "…", "err": "…"}``, answers with the child's
process id at once and with its exit status (negative: the signal) when it has ended.
"""

from __future__ import annotations

import json
import os
import sys
import traceback


def child(command: dict) -> None:
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(command[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(command["cwd"])
    os.environ.update(command["env"])
    code = 1
    try:
        from etlctl import faults
        from etlctl.cli.main import main

        faults.arm(command["env"].get(faults.VARIABLE))
        sys.argv = ["etlctl", *command["argv"]]
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def serve() -> None:
    # What every command needs; polars starts its threads at the first use, which is in the child.
    import polars as pl  # noqa: F401

    import etlctl.cli.main
    import etlctl.cli.run
    import etlctl.cli.running
    import etlctl.contract.compile
    import etlctl.engine.runner
    import etlctl.orchestrator
    import etlctl.state.ledger  # noqa: F401

    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        command = json.loads(line)
        process = os.fork()
        if not process:
            answers = None  # type: ignore[assignment]
            child(command)
        print(process, file=answers, flush=True)
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


if __name__ == "__main__":
    serve()
