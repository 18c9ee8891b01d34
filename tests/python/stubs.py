"""The messages and services of the proto files, generated anew as a stranger's build would."""

import sys
import tempfile

from grpc_tools import protoc


def generate(proto_folder):
    """The modules of the messages and of the services in protoguard/v1/scoring_service.proto."""
    with tempfile.TemporaryDirectory() as stubs:
        source = "protoguard/v1/scoring_service.proto"
        options = [f"-I{proto_folder}", f"--python_out={stubs}", f"--grpc_python_out={stubs}"]
        if protoc.main(["protoc", *options, source]) != 0:
            sys.exit("protoc failed")
        sys.path.insert(0, stubs)
        from protoguard.v1 import scoring_service_pb2 as messages
        from protoguard.v1 import scoring_service_pb2_grpc as services
    return messages, services
