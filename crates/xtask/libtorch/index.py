"""The package index that pip on this machine is configured to use: its address, trust and pages."""

import ast
import base64
import html.parser
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

# Failures in a row without a byte of progress.
ATTEMPTS = 4
TIMEOUT_S = 60
ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.2"


class Refused(Exception):
    """What stops the set-up, as one line for the reader."""


def say(text):
    print(text, file=sys.stderr, flush=True)


class Settings:
    """pip's own settings: environment before the command's section before the global one."""

    def __init__(self):
        self.values = {}
        listing = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False,
        )
        for line in listing.stdout.splitlines():
            key, _, value = line.partition("=")
            try:
                self.values[key] = str(ast.literal_eval(value))
            except (ValueError, SyntaxError):
                continue

    def get(self, name):
        variable = os.environ.get("PIP_" + name.upper().replace("-", "_"))
        sections = (":env:", "download", "install", "global")
        found = (self.values.get(section + "." + name) for section in sections)
        return variable or next((value for value in found if value), None)

    def index(self):
        if self.get("no-index"):
            raise Refused("pip is configured with no-index, so there is no package index to fetch "
                          "libtorch from; set PIP_INDEX_URL and unset no-index")
        configured = self.get("index-url")
        if configured:
            return configured
        try:
            from pip._internal.models.index import PyPI
            return PyPI.simple_url
        except ImportError:
            raise Refused("python3 has no pip, which knows the package index of this machine; "
                          "install pip (python3-pip) or set PIP_INDEX_URL") from None

    def trust(self):
        context = ssl.create_default_context()
        bundles = [self.get("cert"), os.environ.get("REQUESTS_CA_BUNDLE"),
                   os.environ.get("CURL_CA_BUNDLE")]
        try:
            from pip._vendor import certifi
            bundles.append(certifi.where())
        except ImportError:
            pass
        for bundle in bundles:
            if bundle and os.path.isdir(bundle):
                context.load_verify_locations(capath=bundle)
            elif bundle and os.path.exists(bundle):
                context.load_verify_locations(cafile=bundle)
        if self.get("client-cert"):
            context.load_cert_chain(self.get("client-cert"))
        return context

    def opener(self):
        proxy = self.get("proxy")
        proxies = {"http": proxy, "https": proxy} if proxy else None
        return urllib.request.build_opener(
            urllib.request.ProxyHandler(proxies),
            urllib.request.HTTPSHandler(context=self.trust()),
        )


class Anchors(html.parser.HTMLParser):
    """The links of an index page in its older, HTML form."""

    def __init__(self, text):
        super().__init__()
        self.files = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        target = dict(attrs).get("href")
        if tag != "a" or not target:
            return
        url, _, fragment = target.partition("#")
        name = urllib.parse.unquote(url.rsplit("/", 1)[-1])
        algorithm, _, digest = fragment.partition("=")
        self.files.append({"filename": name, "url": url, "hashes": {algorithm: digest}})


def request(url, headers=None):
    """A request whose user name and password, where the address has them, travel as a header."""
    parts = urllib.parse.urlsplit(url)
    headers = dict(headers or {}, **{"User-Agent": "protoguard-setup"})
    if parts.username:
        pair = urllib.parse.unquote(parts.username) + ":" + urllib.parse.unquote(parts.password or "")
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return urllib.request.Request(urllib.parse.urlunsplit(parts), headers=headers)


def reason(error):
    cause = getattr(error, "reason", error)
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__)


def retried(action, url, progress=lambda: 0):
    """Runs `action` until it succeeds; a server's clear refusal is not tried again.

    Failures count only while `progress` does not grow, so a long download over a line that breaks
    often comes to its end.
    """
    failures, furthest = 0, progress()
    while True:
        try:
            return action()
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise Refused("%s answered %d %s" % (shown(url), error.code, error.reason)) from None
            last = error
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError,
                socket.timeout, ssl.SSLError) as error:
            last = error
        failures = 0 if progress() > furthest else failures + 1
        furthest = max(furthest, progress())
        if failures == ATTEMPTS:
            raise Refused("no connection to %s: %s; check the network, or pip's index-url, proxy "
                          "and cert" % (shown(url), reason(last)))
        say("  %s; trying again" % reason(last))
        time.sleep(min(0.25 * 2 ** failures, 4))


def shown(url):
    """The address without a password."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))


def listing(opener, index, project):
    """Every file of a project: its name, address and published hashes."""
    page = index.rstrip("/") + "/" + project + "/"

    def read():
        with opener.open(request(page, {"Accept": ACCEPT}), timeout=TIMEOUT_S) as answer:
            return answer.read().decode(), answer.headers.get_content_type(), answer.geturl()

    text, kind, base = retried(read, page)
    files = json.loads(text)["files"] if kind.endswith("json") else Anchors(text).files
    # The page's own address keeps the user name that a redirect inside the host drops.
    same_host = urllib.parse.urlsplit(base).netloc == urllib.parse.urlsplit(shown(page)).netloc
    base = page if same_host else base
    return [dict(file, url=urllib.parse.urljoin(base, file["url"])) for file in files]
