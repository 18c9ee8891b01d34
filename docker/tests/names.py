"""A name server with one name: what a headless Service is to its clients.

    python names.py PORT FILE

Answers every question for an A record with the addresses in FILE, one a line, read anew each time.
"""

import pathlib
import socket
import struct
import sys

# Seconds that an answer may be kept; cluster DNS says 5 to 30.
TTL = 1
TYPE_A = 1


def question(packet):
    """The end of the first question, and its type."""
    position = 12
    while packet[position]:
        position += packet[position] + 1
    return position + 5, struct.unpack("!H", packet[position + 1:position + 3])[0]


def answer(packet, addresses):
    end, kind = question(packet)
    found = addresses if kind == TYPE_A else []
    head = packet[:2] + b"\x84\x00" + struct.pack("!HHHH", 1, len(found), 0, 0)
    # 0xC00C points at the name in the question.
    records = [struct.pack("!HHHIH", 0xC00C, TYPE_A, 1, TTL, 4) + socket.inet_aton(address)
               for address in found]
    return head + packet[12:end] + b"".join(records)


def main(port, file):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", int(port)))
        print("ready", flush=True)
        while True:
            packet, caller = server.recvfrom(512)
            addresses = pathlib.Path(file).read_text().split()
            server.sendto(answer(packet, addresses), caller)


if __name__ == "__main__":
    main(*sys.argv[1:])
