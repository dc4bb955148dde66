#!/usr/bin/env python3
"""Trains a small network on handwritten digits, spread over the workers of an MXJob.

Every replica of the job runs this same command. MXNet looks at DMLC_ROLE, which the job
sets: in the scheduler and in a server `import mxnet` does the whole work and ends the
process when the workers have said goodbye; only a worker gets past it.

Output is one line an event, for people first: `epoch 3/10 loss 0.123 accuracy 0.912`.
"""

import argparse
import os
import sys
import time

ROLE = os.environ.get("DMLC_ROLE", "local")
FEATURES, CLASSES, HIDDEN = 64, 10, 64
# The same order of examples in every worker, so that their shards do not overlap.
SHUFFLE_SEED = 2019


def say(text):
    """Prints at once: a log that is followed must not wait in a buffer."""
    print(text, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=".demo/digits.csv.gz", help="64 grey values and the digit in each row")
    parser.add_argument("--kvstore", default="dist_sync", choices=["local", "dist_sync", "dist_async"])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64, help="examples a worker takes in one step")
    parser.add_argument("--learning-rate", type=float, default=0.05)
    parser.add_argument("--min-accuracy", type=float, default=0.0, help="exit with 3 when the result is worse")
    parser.add_argument("--step-sleep", type=float, default=0.0, help="seconds to wait after each step (for tests)")
    return parser.parse_args()


def load(path, numpy):
    """(training features, training labels, test features, test labels); a fifth is kept for the test."""
    table = numpy.loadtxt(path, delimiter=",", dtype="float32")
    table = table[numpy.random.RandomState(SHUFFLE_SEED).permutation(len(table))]
    features, labels = table[:, :FEATURES] / 16.0, table[:, FEATURES]
    split = len(table) * 4 // 5
    return features[:split], labels[:split], features[split:], labels[split:]


def main():
    options = arguments()
    say(f"{ROLE} starts")
    if ROLE in ("worker", "local") and not os.path.exists(options.data):
        say(f"there is no data file {options.data}; `cargo xtask demo` fetches it")
        return 2

    import mxnet  # the scheduler and the servers stay in here
    import numpy
    from mxnet import autograd, gluon

    mxnet.random.seed(42)
    store = mxnet.kv.create(options.kvstore)
    rank, workers = store.rank, store.num_workers
    say(f"worker rank {rank} of {workers} joined, mxnet {mxnet.__version__}")

    train_x, train_y, test_x, test_y = load(options.data, numpy)
    # Shards of equal size: with dist_sync each step waits for all workers, so they must take equally many.
    share = len(train_y) // workers
    mine = slice(rank * share, (rank + 1) * share)
    batches = gluon.data.DataLoader(
        gluon.data.ArrayDataset(train_x[mine], train_y[mine]),
        options.batch_size,
        shuffle=True,
        last_batch="discard",
    )
    test_input = mxnet.nd.array(test_x)

    network = gluon.nn.HybridSequential()
    network.add(gluon.nn.Dense(HIDDEN, activation="relu"), gluon.nn.Dense(CLASSES))
    network.initialize(mxnet.init.Xavier())
    network.hybridize()
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    optimizer = {"learning_rate": options.learning_rate, "momentum": 0.9}
    trainer = gluon.Trainer(network.collect_params(), "sgd", optimizer, kvstore=store)

    accuracy = 0.0
    for epoch in range(1, options.epochs + 1):
        losses = []
        for x, y in batches:
            with autograd.record():
                loss = loss_of(network(x), y)
            loss.backward()
            trainer.step(options.batch_size * workers)
            losses.append(float(loss.mean().asscalar()))
            if options.step_sleep:
                time.sleep(options.step_sleep)
        guesses = network(test_input).argmax(axis=1).asnumpy()
        accuracy = float((guesses == test_y).mean())
        say(f"epoch {epoch}/{options.epochs} loss {sum(losses) / max(1, len(losses)):.3f} accuracy {accuracy:.3f}")

    # With dist_sync all workers end with the same parameters: equal norms in their logs prove the exchange.
    norm = sum(float((p.data() ** 2).sum().asscalar()) for p in network.collect_params().values())
    say(f"done accuracy {accuracy:.4f} parameters {norm:.4f}")
    if accuracy < options.min_accuracy:
        say(f"accuracy {accuracy:.4f} is below the asked {options.min_accuracy}")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
