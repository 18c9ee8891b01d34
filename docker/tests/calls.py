"""Calls without generated stubs: a request is the bytes of one field.

A ScoreClipRequest that asks for a clip drawn by the server is `test_clip = 2` (field 6); the answer's
`model` is field 11.
"""

import json

import grpc

SCORE = "/protoguard.v1.ScoringService/ScoreClip"
REQUEST = b"\x30\x02"
MODEL_FIELD = (11 << 3) | 2

# What a client that balances by itself sets: every ready address in turn, and another try elsewhere
# where a call did not get through.
SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [{
        "name": [{}],
        "waitForReady": True,
        "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "1s",
                        "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]},
    }],
}
OPTIONS = [
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.enable_retries", 1),
    # A pod that is gone is noticed by its name soon, and a connection that died by a ping.
    ("grpc.dns_min_time_between_resolutions_ms", 500),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
]


def channel(target):
    return grpc.insecure_channel(target, options=OPTIONS)


def scorer(connection):
    """The call, bytes to bytes."""
    return connection.unary_unary(SCORE)


def model_of(answer):
    """The name of the model that answered."""
    position = 0
    while position < len(answer):
        tag, position = varint(answer, position)
        kind = tag & 7
        if kind == 2:
            length, position = varint(answer, position)
            if tag == MODEL_FIELD:
                return answer[position:position + length].decode()
            position += length
        elif kind == 0:
            _, position = varint(answer, position)
        else:
            position += {1: 8, 5: 4}[kind]
    return ""


def varint(data, position):
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position
