"""Runs a program that ends with the process that started it, even if that process is killed.

Started as `python -I -S tied_process.py PROGRAM ARGUMENT…`. Standard input is a pipe whose other end the parent holds.
On Linux the kernel ends the program. Elsewhere this process stays beside it and waits for the end of the pipe.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading


def _run_on_linux(command: list[str]) -> None:
    import ctypes  # noqa: PLC0415 - for Linux alone
    import select  # noqa: PLC0415
    import signal  # noqa: PLC0415

    set_parent_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
    ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGKILL)
    # If the parent ended before that line, its end of the pipe is already closed.
    if not select.select([sys.stdin], [], [], 0)[0]:
        os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def _run_beside(command: list[str]) -> int:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - our own arguments

    def wait_for_parent() -> None:
        os.read(sys.stdin.fileno(), 1)
        process.terminate()

    threading.Thread(target=wait_for_parent, daemon=True).start()
    return process.wait()


if __name__ == "__main__":
    if sys.platform == "linux":
        _run_on_linux(sys.argv[1:])
    else:
        sys.exit(_run_beside(sys.argv[1:]))
