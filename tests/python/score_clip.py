"""Scores one clip with stubs generated from the proto alone, as a stranger would.

Usage: score_clip.py PROTO_FOLDER ADDRESS FRAME_FILE...
Prints the response as JSON, or {"code": ..., "details": ...} where the server refuses.
"""

import json
import pathlib
import sys

import grpc
from google.protobuf import json_format

from stubs import generate


def main(proto_folder, address, *frame_files):
    messages, services = generate(proto_folder)
    frames = [pathlib.Path(file).read_bytes() for file in frame_files]
    request = messages.ScoreClipRequest(
        request_id="python",
        encoded_frames=messages.EncodedFrames(frames=frames),
        view=messages.VIEW_FULL,
    )
    with grpc.insecure_channel(address) as channel:
        stub = services.ScoringServiceStub(channel)
        try:
            response = stub.ScoreClip(request, timeout=60)
        except grpc.RpcError as error:
            print(json.dumps({"code": error.code().name, "details": error.details()}))
            return
    print(json.dumps(json_format.MessageToDict(response)))


if __name__ == "__main__":
    main(*sys.argv[1:])
