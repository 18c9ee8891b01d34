"""Scores one clip as a careful backend would, by grpcio's sync or aio way.

Usage: patient_client.py sync|aio PROTO_FOLDER ADDRESS FRAME_FILE...

UNAVAILABLE is tried again, after the time that the server's RetryInfo names. Then one call is
given too short a deadline and one is cancelled. Prints one JSON object: the response, the retries,
and the codes of those two.
"""

import asyncio
import json
import pathlib
import sys
import time

import grpc
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2

from stubs import generate

PATIENCE_S = 120
# Where the server says nothing, as when nobody listens yet.
PAUSE_S = 0.02


def retry_of(error):
    """What an UNAVAILABLE says of its reason and of when to come again."""
    found = {"reason": "", "retry_after_s": None}
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        for detail in status_pb2.Status.FromString(value).details:
            retry, info = error_details_pb2.RetryInfo(), error_details_pb2.ErrorInfo()
            if detail.Unpack(retry):
                delay = retry.retry_delay
                found["retry_after_s"] = delay.seconds + delay.nanos / 1e9
            elif detail.Unpack(info):
                found["reason"] = info.reason
    return found


def note_retry(error, retries, until):
    """Notes a retry and says how long to wait, or raises what is no reason for one."""
    if error.code() != grpc.StatusCode.UNAVAILABLE or time.monotonic() > until:
        raise error
    retry = retry_of(error)
    retries.append(retry)
    return retry["retry_after_s"] or PAUSE_S


# A channel that found nobody must not rest for seconds before it looks again.
OPTIONS = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 20)]


def sync_calls(services, address, request):
    told = {"retries": []}
    until = time.monotonic() + PATIENCE_S
    with grpc.insecure_channel(address, options=OPTIONS) as channel:
        stub = services.ScoringServiceStub(channel)
        while "response" not in told:
            try:
                told["response"] = json_format.MessageToDict(stub.ScoreClip(request, timeout=60))
            except grpc.RpcError as error:
                time.sleep(note_retry(error, told["retries"], until))
        try:
            stub.ScoreClip(request, timeout=1e-4)
        except grpc.RpcError as error:
            told["late"] = error.code().name
        call = stub.ScoreClip.future(request, timeout=60)
        call.cancel()
        told["cancelled"] = call.code().name
    return told


async def aio_calls(services, address, request):
    told = {"retries": []}
    until = time.monotonic() + PATIENCE_S
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        stub = services.ScoringServiceStub(channel)
        while "response" not in told:
            try:
                answer = await stub.ScoreClip(request, timeout=60)
                told["response"] = json_format.MessageToDict(answer)
            except grpc.aio.AioRpcError as error:
                await asyncio.sleep(note_retry(error, told["retries"], until))
        try:
            await stub.ScoreClip(request, timeout=1e-4)
        except grpc.aio.AioRpcError as error:
            told["late"] = error.code().name
        call = stub.ScoreClip(request, timeout=60)
        call.cancel()
        try:
            await call
        except asyncio.CancelledError:
            told["cancelled"] = (await call.code()).name
    return told


def main(kind, proto_folder, address, *frame_files):
    messages, services = generate(proto_folder)
    frames = [pathlib.Path(file).read_bytes() for file in frame_files]
    request = messages.ScoreClipRequest(
        request_id=kind, encoded_frames=messages.EncodedFrames(frames=frames)
    )
    if kind == "sync":
        told = sync_calls(services, address, request)
    else:
        told = asyncio.run(aio_calls(services, address, request))
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
