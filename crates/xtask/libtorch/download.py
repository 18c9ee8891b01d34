"""One file over HTTP, resumed where an earlier run or a broken connection left it, and checked."""

import hashlib
import os
import urllib.error

from index import TIMEOUT_S, Refused, request, retried, say

CHUNK = 1 << 20


class Download:
    """One file, picked up where an earlier run or a broken connection left it."""

    def __init__(self, opener, file, folder):
        self.opener, self.url = opener, file["url"]
        self.name, self.sha256 = file["filename"], file["hashes"]["sha256"]
        self.path = os.path.join(folder, self.name)
        self.part = self.path + "." + self.sha256[:12] + ".part"

    def run(self):
        if not os.path.exists(self.path):
            retried(self.resume, self.url, lambda: size(self.part))
            self.verify(self.part)
            os.replace(self.part, self.path)
        else:
            self.verify(self.path)
        return self.path

    def resume(self):
        have = size(self.part)
        headers = {"Range": "bytes=%d-" % have} if have else {}
        try:
            answer = self.opener.open(request(self.url, headers), timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            # Nothing lies beyond the bytes at hand: either all of them are here or they are not its.
            if error.code == 416 and self.matches(self.part):
                return
            if error.code == 416:
                os.remove(self.part)
                raise ConnectionError("the server refused to resume") from None
            raise
        with answer:
            resumed = answer.headers.get("Content-Range", "").startswith("bytes %d-" % have)
            if have and answer.status == 206 and resumed:
                say("  resuming %s at %d MB" % (self.name, have // 10**6))
            else:
                have = 0
            self.append(answer, have)

    def append(self, answer, have):
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        meter = Meter(self.name, total)
        with open(self.part, "ab" if have else "wb") as part:
            while True:
                chunk = answer.read(CHUNK)
                if not chunk:
                    break
                part.write(chunk)
                have += len(chunk)
                meter.show(have)
            part.flush()
            os.fsync(part.fileno())
        if total is not None and have < total:
            raise ConnectionError("the connection ended after %d of %d bytes" % (have, total))

    def matches(self, path):
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            for chunk in iter(lambda: file.read(CHUNK), b""):
                digest.update(chunk)
        self.found = digest.hexdigest()
        return self.found == self.sha256

    def verify(self, path):
        if not self.matches(path):
            os.remove(path)
            raise Refused("%s has sha256 %s, the index publishes %s; the file was removed, "
                          "run the set-up again" % (self.name, self.found, self.sha256))


class Meter:
    """A line of progress for every tenth of a large file."""

    def __init__(self, name, total):
        self.name, self.total, self.shown = name, total, -1

    def show(self, have):
        if not self.total or self.total < 50_000_000:
            return
        tenth = have * 10 // self.total
        if tenth != self.shown:
            self.shown = tenth
            say("  %s: %d of %d MB" % (self.name, have // 10**6, self.total // 10**6))


def size(path):
    return os.path.getsize(path) if os.path.exists(path) else 0
