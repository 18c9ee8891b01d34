"""A client that balances by itself, under load for as long as standard input stays open.

    python balance.py TARGET CALLERS

Prints a line `answered N` now and then, and at the end one JSON object: calls answered by each model
and the failures that retries did not mend.
"""

import collections
import json
import sys
import threading
import time

import grpc

import calls

DEADLINE_S = 20


class Load:
    """Callers in a closed loop over one channel."""

    def __init__(self, target):
        self.connection = calls.channel(target)
        self.score = calls.scorer(self.connection)
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.answered = collections.Counter()
        self.failed = collections.Counter()

    def call(self):
        while not self.stop.is_set():
            try:
                answer = self.score(calls.REQUEST, timeout=DEADLINE_S)
                who, tally = calls.model_of(answer), self.answered
            except grpc.RpcError as error:
                who, tally = f"{error.code().name}: {error.details()}", self.failed
            with self.lock:
                tally[who] += 1

    def report(self):
        while not self.stop.wait(0.5):
            print(f"answered {self.answered.total()} failed {self.failed.total()}", flush=True)


def main(target, callers):
    load = Load(target)
    threads = [threading.Thread(target=load.call) for _ in range(int(callers))]
    for thread in threads + [threading.Thread(target=load.report)]:
        thread.start()
    start = time.monotonic()
    sys.stdin.read()
    load.stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps({"answered": load.answered, "failed": load.failed,
                      "seconds": round(time.monotonic() - start, 1)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
