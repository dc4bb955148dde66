#!/usr/bin/env python3
"""Tunes a matrix product with AutoTVM through an RPC tracker and an RPC server: the three roles of an MXTune job.

Every replica of the job runs this same command and finds in MX_CONFIG which one it is and where the tracker is. Tracker
and server are TVM's own programs and never end by themselves; the tuner exits with 0 only if a trial succeeded.

Needs a TVM that still has AutoTVM, such as hhb-tvm 3.2.3 (Python 3.10), and a C++ compiler.
"""

import json
import os
import socket
import sys
import time

SIZE = 64
TRIALS = 4
# The plain target `llvm` of hhb-tvm is a RISC-V machine.
TARGET = os.environ.get("TVM_TARGET", "llvm -mtriple=x86_64-linux-gnu")


def say(text):
    """Prints at once: a log that is followed must not wait in a buffer."""
    print(text, flush=True)


def product():
    """A matrix product in blocks, whose sizes are to be found."""
    from tvm import autotvm, te

    @autotvm.template("examples/product")
    def template(size):
        a = te.placeholder((size, size), name="a")
        b = te.placeholder((size, size), name="b")
        inner = te.reduce_axis((0, size), name="inner")
        c = te.compute((size, size), lambda row, column: te.sum(a[row, inner] * b[inner, column], axis=inner), name="c")
        schedule, space = te.create_schedule(c.op), autotvm.get_config()
        rows, columns = schedule[c].op.axis
        space.define_split("rows", rows, num_outputs=2)
        space.define_split("columns", columns, num_outputs=2)
        outer_rows, inner_rows = space["rows"].apply(schedule, c, rows)
        outer_columns, inner_columns = space["columns"].apply(schedule, c, columns)
        schedule[c].reorder(outer_rows, outer_columns, schedule[c].op.reduce_axis[0], inner_rows, inner_columns)
        return schedule, [a, b, c]

    return autotvm.task.create("examples/product", args=(SIZE,), target=TARGET)


def load_plainly(remote, _build):
    """hhb-tvm's client passes two arguments more to this function than its own server takes."""
    remote.load_module = remote.get_function("tvm.rpc.server.load_module")


def tune(key, host, port):
    from tvm import autotvm
    from tvm.autotvm.measure.measure_methods import default_module_loader

    costs = []

    def seen(_tuner, inputs, results):
        for trial, result in zip(inputs, results):
            if result.error_no == 0:
                costs.append(sum(result.costs) / len(result.costs))
                say(f"trial {trial.config.index}: {1e6 * costs[-1]:.0f} us")
            else:
                say(f"trial {trial.config.index} failed: {result.costs}")

    runner = autotvm.RPCRunner(
        key, host, port, number=5, repeat=1, timeout=30, n_parallel=1, module_loader=default_module_loader(load_plainly)
    )
    builder = autotvm.LocalBuilder(n_parallel=1, timeout=60)
    options = autotvm.measure_option(builder=builder, runner=runner)
    autotvm.tuner.RandomTuner(product()).tune(n_trial=TRIALS, measure_option=options, callbacks=[seen])
    if not costs:
        say("no trial succeeded")
        return 1
    say(f"done best {1e6 * min(costs):.0f} us of {len(costs)} trials")
    return 0


def become(module, *arguments):
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


def main():
    config = json.loads(os.environ["MX_CONFIG"])
    task, tracker = config["task"], config["cluster"]["tunertracker"][0]
    host, port = tracker["url"], int(tracker["port"])
    me = config["cluster"][task["type"]][task["index"]]
    key = config["labels"]["tunerserver"]
    say(f"{task['type']} {task['index']} starts")
    # Trackers and servers move to the next port where one is taken, unless they are given only one.
    ports = ["--port", str(me["port"]), "--port-end", str(me["port"] + 1)]
    if task["type"] == "tunertracker":
        become("tvm.exec.rpc_tracker", "--host", "0.0.0.0", *ports)
    while True:
        # A server that finds no tracker waits five seconds before it looks again.
        try:
            socket.create_connection((host, port)).close()
            break
        except OSError:
            time.sleep(0.05)
    if task["type"] == "tunerserver":
        become(
            "tvm.exec.rpc_server", "--host", "0.0.0.0", *ports,
            "--tracker", f"{host}:{port}", "--key", key, "--custom-addr", me["url"],
        )
    return tune(key, host, port)


if __name__ == "__main__":
    sys.exit(main())
