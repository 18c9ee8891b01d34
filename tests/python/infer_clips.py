"""Scores clips by Triton's client, as one who knows the Open Inference Protocol alone would.

Usage: infer_clips.py ADDRESS MODEL FRAMES_A_CLIP FRAME_FILE...
Cuts every run of so many frames from the files (binary PPM of one size), sends all of them as one
tensor and, of the first, a tensor of floats. Prints one JSON object: what the server says of itself
and its model, the outputs, and the message of a refusal.
"""

import json
import sys

import numpy as np
import tritonclient.grpc as triton
from google.protobuf import json_format


def pixels(file):
    """Height x width x 3 of a binary PPM."""
    with open(file, "rb") as ppm:
        assert ppm.readline().strip() == b"P6"
        width, height = map(int, ppm.readline().split())
        assert ppm.readline().strip() == b"255"
        return np.frombuffer(ppm.read(), np.uint8).reshape(height, width, 3)


def infer(client, model, clips, outputs=()):
    kind = "UINT8" if clips.dtype == np.uint8 else "FP32"
    frames = triton.InferInput("frames", list(clips.shape), kind)
    frames.set_data_from_numpy(clips)
    asked = [triton.InferRequestedOutput(name) for name in outputs] or None
    result = client.infer(model, [frames], outputs=asked, request_id="triton")
    response = result.get_response()
    assert response.id == "triton"
    named = {of.name: result.as_numpy(of.name) for of in response.outputs}
    return {name: {"shape": list(of.shape), "values": of.ravel().tolist()} for name, of in named.items()}


def main(address, model, length, *files):
    frames = np.stack([pixels(file) for file in files])
    length = int(length)
    clips = np.stack([frames[at:at + length] for at in range(len(frames) - length + 1)])
    client = triton.InferenceServerClient(address)
    told = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(model),
        "other_ready": client.is_model_ready("nobody"),
        "server": client.get_server_metadata(as_json=True),
        "model": client.get_model_metadata(model, as_json=True),
        "config": client.get_model_config(model, as_json=True),
        "scores": infer(client, model, clips),
        "floats": infer(client, model, (clips[:1] / 255).astype(np.float32)),
        "pictures": infer(client, model, clips[:2], ["predicted_frame", "error_map"]),
    }
    try:
        infer(client, model, clips[:, :2])
    except triton.InferenceServerException as error:
        told["refused"] = {"code": str(error.status()), "message": error.message()}
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
