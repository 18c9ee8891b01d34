"""Streams folders of frames with stubs generated from the proto alone, as a stranger would.

Usage: stream_frames.py PROTO_FOLDER ADDRESS INTERVAL_MS FOLDER...
One call of ScoreStream a folder, all at once, of every frame. Prints one JSON object a message:
{"folder": ..., "message": {...}}, and {"folder": ..., "code": ..., "details": ...} at the end of a
stream.
"""

import concurrent.futures
import json
import pathlib
import sys

import grpc
from google.protobuf import json_format

from stubs import generate


def asked(messages, folder, interval_ms):
    """The messages that a camera sends."""
    opening = messages.StreamOpening(
        camera=folder.name,
        mode=messages.STREAM_MODE_LOSSLESS,
        frame_interval_ms=interval_ms,
    )
    yield messages.ScoreStreamRequest(opening=opening)
    for index, file in enumerate(sorted(folder.iterdir())):
        frame = messages.StreamFrame(
            id=index,
            capture_time_us=round(index * interval_ms * 1000),
            encoded=file.read_bytes(),
        )
        yield messages.ScoreStreamRequest(frame=frame)


def stream(messages, stub, folder, interval_ms):
    told = []
    try:
        for answer in stub.ScoreStream(asked(messages, folder, interval_ms), timeout=240):
            message = json_format.MessageToDict(answer)
            told.append({"folder": folder.name, "message": message})
        told.append({"folder": folder.name, "code": "OK", "details": ""})
    except grpc.RpcError as error:
        end = {"code": error.code().name, "details": error.details()}
        told.append({"folder": folder.name, **end})
    return told


def main(proto_folder, address, interval_ms, *folders):
    messages, services = generate(proto_folder)
    with grpc.insecure_channel(address) as channel:
        stub = services.ScoringServiceStub(channel)
        with concurrent.futures.ThreadPoolExecutor(len(folders)) as pool:
            run = lambda folder: stream(messages, stub, pathlib.Path(folder), float(interval_ms))
            for told in pool.map(run, folders):
                for line in told:
                    print(json.dumps(line))


if __name__ == "__main__":
    main(*sys.argv[1:])
