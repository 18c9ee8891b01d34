"""What the programs offer, read from the sources: configuration keys, flags, methods, metrics."""

import pathlib
import re
import subprocess

HEALTH_NAMES = {"", "protoguard.v1.ScoringService", "liveness", "readiness"}
HTTP_PATHS = {"/metrics", "/healthz", "/readyz"}
FIELD = re.compile(r"^\s*pub\(crate\) (\w+):", re.M)


class Facts:
    """Facts of the source tree at `root`."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.server_keys = self._server_keys()
        self.trainer_text = self._text("crates/trainer/src")
        self.methods = self._methods()
        self.metrics = self._metrics()

    def _text(self, folder):
        return "\n".join(path.read_text() for path in sorted((self.root / folder).rglob("*.rs")))

    def _server_keys(self):
        """The fields of RawConfig, and of the built program's printed configuration if there is one."""
        text = self._text("crates/server/src/config")
        struct = re.search(r"struct RawConfig \{(.*?)\n\}", text, re.S)
        if not struct:
            raise SystemExit("crates/server/src/config has no struct RawConfig to read keys from")
        keys = set(FIELD.findall(struct.group(1)))
        for profile in ("release", "debug"):
            program = self.root / "target" / profile / "protoguard-server"
            if program.exists():
                keys |= printed_keys(program)
        return keys

    def trainer_has(self, command, flag):
        """Whether the trainer has a command, and the command line a flag of that name."""
        variant = re.search(r"^\s*%s\(" % command.capitalize(), self.trainer_text, re.M)
        field = flag.lstrip("-").replace("-", "_")
        return bool(variant) and bool(re.search(r"\bpub %s:" % field, self.trainer_text))

    def _methods(self):
        methods = {("grpc.health.v1.Health", "Check"), ("grpc.health.v1.Health", "Watch")}
        for path in (self.root / "proto").rglob("*.proto"):
            text = path.read_text()
            package = re.search(r"^package ([\w.]+);", text, re.M).group(1)
            for service, body in re.findall(r"^service (\w+) \{(.*?)^\}", text, re.M | re.S):
                for method in re.findall(r"rpc (\w+)\(", body):
                    methods.add((f"{package}.{service}", method))
        return methods

    def _metrics(self):
        """Series by name: kind and labels, as metrics.txt lists them."""
        series = {}
        text = (pathlib.Path(__file__).parent / "metrics.txt").read_text()
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, kind, *labels = line.split()
                if kind not in ("gauge", "counter", "histogram"):
                    raise SystemExit(f"metrics.txt: {line}: gauge, counter or histogram is expected")
                series[name] = (kind, set(labels))
        return series


def printed_keys(program):
    listing = subprocess.run([program, "--print-config", "--model", "x"], capture_output=True,
                             text=True, check=False)
    return set(re.findall(r"^(\w+) = ", listing.stdout, re.M))
