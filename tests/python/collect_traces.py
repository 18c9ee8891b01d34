"""Collects traces by OTLP over gRPC until every one of the given words was in them.

Usage: collect_traces.py WORD...
Prints `collecting on ADDRESS`, and `collected` once names, attributes or ids of the spans that came
had all the words. A word such as `hex:0af7` stands for bytes, as ids are made of.
"""

import sys
import threading
from concurrent import futures

import grpc

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PATIENCE_S = 120


def as_bytes(word):
    return bytes.fromhex(word[4:]) if word.startswith("hex:") else word.encode()


class Collector(grpc.GenericRpcHandler):
    """Takes the messages as bytes: text lies in them as it is."""

    def __init__(self, words):
        self.missing = {as_bytes(word) for word in words}
        self.done = threading.Event()

    def service(self, details):
        if details.method == EXPORT:
            return grpc.unary_unary_rpc_method_handler(self.export)
        return None

    def export(self, message, _context):
        self.missing = {word for word in self.missing if word not in message}
        if not self.missing:
            self.done.set()
        # An empty ExportTraceServiceResponse: everything was taken.
        return b""


def main(*words):
    collector = Collector(words)
    server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[collector])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"collecting on 127.0.0.1:{port}", flush=True)
    collected = collector.done.wait(PATIENCE_S)
    server.stop(1).wait()
    if not collected:
        sys.exit(f"missing: {collector.missing}")
    print("collected")


if __name__ == "__main__":
    main(*sys.argv[1:])
