"""The command line: one module a command, each with its options, an example, and what it does. A command
loads nothing before it is asked for, so that help costs nothing. `python -m ulsad` and `ulsad` are the same.
"""

COMMANDS = {
    "app": "start ULSAD Explorer in the browser",
    "train": "learn what good parts look like",
    "check": "are these photos fit to train on, and what would it take?",
    "predict": "score photos and draw their anomaly maps",
    "attention": "draw what a pre-trained network attends to (Figure 5)",
    "evaluate": "test on a labelled data set: every metric, with intervals",
    "ablate": "repeat the paper's ablations on a data set",
    "compare": "hold other methods against this one, on the same photos",
    "demo": "draw synthetic part trays to try everything on",
    "bench": "measure how fast this machine is",
}
