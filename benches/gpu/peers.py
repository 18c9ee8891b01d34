"""PyTorch beside us: programs of benches/peers, bounded in time."""

import json
import pathlib
import queue
import statistics
import subprocess
import sys
import threading

from clock import Failed, end

PEERS = pathlib.Path(__file__).resolve().parent.parent / "peers"
# cuDNN's convolutions alone are tried: compiling Triton's for every layer takes minutes a batch size.
QUICK = {
    "TORCHINDUCTOR_MAX_AUTOTUNE_CONV_BACKENDS": "ATEN",
    "TORCHINDUCTOR_MAX_AUTOTUNE_GEMM_BACKENDS": "ATEN",
}


class Forward:
    """`forward.py`, which answers a line with a line."""

    def __init__(self, lab, name, case, clock, more=None):
        self.lab, self.name, self.clock = lab, name, clock
        command = [sys.executable, PEERS / "forward.py", name, lab.checkpoint(clock), case]
        command += ["--device", lab.args.device]
        self.process, self.own = lab.shell.start(command, more, stdin=subprocess.PIPE)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for line in self.process.stdout:
                self.lines.put(line)
        except ValueError:
            pass  # Closed under it.
        self.lines.put("")

    def rate(self, outputs, batch, seconds):
        """Clips a second; fails when no answer comes in so many seconds."""
        asked = {"outputs": outputs, "batch": batch, "repetitions": self.lab.args.repetitions}
        try:
            print(json.dumps(asked), file=self.process.stdin, flush=True)
            line = self.lines.get(timeout=max(0.1, min(seconds, self.clock.left())))
        except (BrokenPipeError, queue.Empty):
            line = ""
        if not line:
            how = "gave no answer in time" if self.process.poll() is None else "ended"
            raise Failed(f"{self.name} {how} at {outputs} of {batch}")
        return batch / statistics.median(json.loads(line)["seconds"])

    def close(self):
        end(self.process, 3)
        return self.lab.shell.words(self.own)


def forward_rates(lab, name, case, clock, cells, more=None, each=60):
    """Rates by outputs and batch size, as far as the time goes, and what went wrong."""
    rates, peer = {}, Forward(lab, name, case, clock, more)
    try:
        for outputs, batch in cells:
            rates.setdefault(outputs, {})[batch] = peer.rate(outputs, batch, each)
    except Failed as failure:
        rates["error"] = str(failure)
    said = peer.close()
    if "error" in rates:
        rates["error"] += f": {said}"
    return rates


def training_step(lab, case, clock, *more, few=()):
    script = [sys.executable, PEERS / "training_step.py", case, *few, "--device", lab.args.device]
    return lab.json([*script, "--fused-adam", *more], clock)
