"""The command line: one module per command with its options, an example and its code. A command's module is
loaded only when used, so that help is fast. `python -m ulsad` and `ulsad` are the same.
"""

COMMANDS = {
    "app": "start ULSAD Explorer in the browser",
    "train": "train a model on photos of good parts",
    "check": "check photos before training, and estimate what training needs",
    "predict": "score photos and draw their anomaly maps",
    "watch": "judge every photo that arrives in a folder, once",
    "serve": "give verdicts over HTTP",
    "verify": "compute verdicts again, and report those that differ",
    "export": "write a model as ONNX and for torch.export, to run it elsewhere",
    "figure": "draw photos with their maps for a paper (Figures 6 and 9)",
    "attention": "draw what a pre-trained network attends to (Figure 5)",
    "evaluate": "test on a labelled data set: every metric, with intervals",
    "ablate": "repeat the paper's ablations on a data set",
    "compare": "compare other methods with this one on the same photos",
    "promises": "check whether thresholds from few photos keep what they promise",
    "demo": "draw a synthetic data set to try everything on",
    "bench": "measure how fast this machine is",
}
