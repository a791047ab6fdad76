#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Gets the metrics from the unix socket given, in both formats, has Prometheus' own parsers read them strictly,
and prints the samples, "NAME{LABEL=VALUE,...} VALUE" a line. Ends with 1 when a format is broken or the two differ."""
import socket
import sys

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client import parser as text

OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PLAIN = "text/plain; version=0.0.4; charset=utf-8"


def get(path, accept, expected):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(path)
        s.sendall(f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n".encode())
        data = b""
        while True:
            more = s.recv(65536)
            if not more:
                break
            data += more
    head, _, body = data.decode().partition("\r\n\r\n")
    lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert lines[0] == "HTTP/1.0 200 OK", lines[0]
    assert headers["Content-Type"] == expected, headers
    assert int(headers["Content-Length"]) == len(body.encode()), headers
    return body


def samples(families):
    found = {}
    for family in families:
        assert family.documentation and family.type != "unknown", family
        for s in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(s.labels.items()))
            found[f"{s.name}{{{labels}}}"] = s.value
    return found


def main():
    as_open = samples(openmetrics.text_string_to_metric_families(get(sys.argv[1], OPEN, OPEN)))
    as_text = samples(text.text_string_to_metric_families(get(sys.argv[1], "text/plain", PLAIN)))
    assert as_open.keys() == as_text.keys(), as_open.keys() ^ as_text.keys()
    for name, value in as_open.items():
        print(name, f"{value:g}")


main()
