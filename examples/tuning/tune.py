#!/usr/bin/env python3
"""The three roles of an MXTune job, talking over TCP as TVM's do, with nothing but Python's own library.

Every replica of the job runs this same command and finds in MX_CONFIG which one it is and where the others are.

* The tracker keeps a list of the servers there are, by key.
* A server says its address and key to the tracker, and then measures what it is asked to.
* The tuner asks the tracker for servers with its key, has them measure candidates, and prints the best one.

Tracker and servers never end by themselves: the job has succeeded when the tuner has, and stops them then.
What is tuned here is the chunk size of a sum over bytes, a stand-in for the schedule of a tensor operator.
"""

import json
import os
import socket
import sys
import time

PATIENCE = 60.0
CANDIDATES = (1, 16, 256, 4096)


def say(text):
    """Prints at once: a log that is followed must not wait in a buffer."""
    print(text, flush=True)


def call(address, request):
    """Sends one request as a line of JSON and gives the answer, waiting for a peer that is not there yet."""
    last = time.monotonic() + PATIENCE
    while True:
        try:
            with socket.create_connection(address, timeout=PATIENCE) as connection:
                connection.sendall(json.dumps(request).encode() + b"\n")
                return json.loads(connection.makefile().readline())
        except OSError:
            if time.monotonic() > last:
                raise
            time.sleep(0.05)


def serve(port, answer):
    """Answers requests on all addresses of this replica, for ever."""
    with socket.create_server(("", port)) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                if request := connection.makefile().readline():  # nothing: somebody only looked whether we are there
                    connection.sendall(json.dumps(answer(json.loads(request))).encode() + b"\n")


def track(port):
    servers = {}

    def answer(request):
        if "address" in request:
            servers.setdefault(request["key"], []).append(request["address"])
            say(f"registered {request['address']} key {request['key']}")
        return servers.get(request["key"], [])

    serve(port, answer)


def measure(request):
    """Seconds that it takes to sum a block of bytes in chunks, and the sum."""
    data, chunk = bytes(range(256)) * 256, request["chunk"]
    began = time.perf_counter()
    total = sum(sum(data[at : at + chunk]) for at in range(0, len(data), chunk))
    return {"sum": total, "seconds": time.perf_counter() - began}


def tune(tracker, key, wanted):
    last = time.monotonic() + PATIENCE
    while len(servers := call(tracker, {"key": key})) < wanted:
        if time.monotonic() > last:
            say(f"there are {len(servers)} servers with key {key}, not {wanted}")
            return 1
        time.sleep(0.05)
    costs = {}
    for number, chunk in enumerate(CANDIDATES):
        server = servers[number % len(servers)]
        result = call(tuple(server), {"chunk": chunk})
        if result["sum"] != 256 * sum(range(256)):
            say(f"{server} measured something else")
            return 1
        costs[chunk] = result["seconds"]
        say(f"trial chunk {chunk} on {server[0]}: {1e6 * result['seconds']:.0f} us")
    say(f"done best chunk {min(costs, key=costs.get)} of {len(costs)} trials")
    return 0


def main():
    config = json.loads(os.environ["MX_CONFIG"])
    cluster, task = config["cluster"], config["task"]
    tracker = (cluster["tunertracker"][0]["url"], cluster["tunertracker"][0]["port"])
    key = config["labels"]["tunerserver"]
    me = cluster[task["type"]][task["index"]]
    say(f"{task['type']} {task['index']} starts")
    if task["type"] == "tunertracker":
        track(me["port"])
    if task["type"] == "tunerserver":
        call(tracker, {"key": key, "address": [me["url"], me["port"]]})
        serve(me["port"], measure)
    return tune(tracker, key, len(cluster["tunerserver"]))


if __name__ == "__main__":
    sys.exit(main())
