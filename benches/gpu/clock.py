"""Time that a stage may take, and commands that cannot take more."""

import os
import signal
import subprocess
import time

SPARE_S = 5


class Failed(Exception):
    """A command that did not succeed; says which and why."""


class Clock:
    """Counts down from a number of seconds, or to another clock's end if that comes first."""

    def __init__(self, seconds, within=None):
        self.end = time.monotonic() + max(0.0, seconds)
        if within is not None:
            self.end = min(self.end, within.end)

    def left(self):
        return max(0.0, self.end - time.monotonic())

    def part(self, seconds):
        return Clock(seconds, self)


class Shell:
    """Runs commands in one environment and keeps what they say on standard error in one log."""

    def __init__(self, environment, log):
        self.environment, self.log = environment, log

    def note(self, line):
        with self.log.open("a") as log:
            print(line, file=log)

    def start(self, command, more=None, **streams):
        """The command in a process group of its own, and a file with its standard error."""
        words = [str(word) for word in command]
        own = self.log.parent / f".stderr-{time.monotonic_ns()}"
        self.note(f"[{time.strftime('%H:%M:%S')}] $ {' '.join(words)}")
        with own.open("wb") as errors:
            streams = {"stdout": subprocess.PIPE, "stderr": errors, "text": True} | streams
            environment = self.environment | (more or {})
            process = subprocess.Popen(words, env=environment, start_new_session=True, **streams)
        return process, own

    def words(self, own, most=1500):
        """The end of a command's standard error, which goes into the log as well."""
        said = own.read_text(errors="replace") if own.exists() else ""
        own.unlink(missing_ok=True)
        self.note(said[-20000:])
        return said[-most:].strip()

    def run(self, command, clock, more=None):
        """Standard output of a command that must succeed before the clock ends."""
        if clock.left() < 1:
            raise Failed(f"no time left for {command[0]}")
        process, own = self.start(command, more)
        try:
            output, _ = process.communicate(timeout=clock.left())
        except subprocess.TimeoutExpired:
            end(process)
            raise Failed(f"{name(command)} was stopped at its time: {self.words(own)}") from None
        except BaseException:
            end(process)
            raise
        said = self.words(own)
        if process.returncode != 0:
            raise Failed(f"{name(command)} ended with {process.returncode}: {said}")
        return output


def name(command):
    return " ".join(os.path.basename(str(word)) for word in command[:2])


def end(process, patience=10):
    """Ends a process and all that it started: first politely."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
            process.wait(patience)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()
