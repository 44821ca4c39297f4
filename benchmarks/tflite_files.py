"""Times .tflite files in turns against the first of them, and prints the ratios.

    python benchmarks/tflite_files.py OLD.tflite NEW.tflite --json FILE

Each file runs in its own process, on one image, on one thread (CPU seconds) and on two
(wall seconds). A file of `--post-processing none` beside the whole one tells what NMS costs.
"""

import argparse
import json
from contextlib import ExitStack
from pathlib import Path

from pairs import Side, ratios, repeated, spread, take_turns
from peers import generated_squares


class File:
    """A .tflite file in LiteRT's interpreter."""

    def __init__(self, path, threads):
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(path, num_threads=threads)
        self.interpreter.allocate_tensors()
        place = self.interpreter.get_input_details()[0]
        self.place, (_, height, width, _) = place["index"], place["shape"]
        self.image = generated_squares(1, height, width).astype(place["dtype"])

    def detect(self):
        def run():
            self.interpreter.set_tensor(self.place, self.image)
            self.interpreter.invoke()

        return repeated(run)


SIDES = {"file": File}


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("files", nargs="+", help="the first is what the others are compared with")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="file to write")
    options = parser.parse_args(words)

    from suite import record_of, rounded

    from ssd_keras.core.hardware import hardware

    names = [Path(path).name for path in options.files]
    record = record_of(f"python benchmarks/tflite_files.py {' '.join(names)}", hardware())
    record["times"] = []
    for threads in (1, 2):
        with ExitStack() as stack:
            asks = {}
            for path in options.files:
                side = Side("tflite_files", "file", threads, path=path, threads=threads)
                asks[path] = stack.enter_context(side).detect
            clock = "core_seconds" if threads == 1 else "seconds"
            seconds, others = take_turns(asks, options.rounds, clock=clock)
        for path, name in zip(options.files, names, strict=True):
            ratio = ratios(seconds[path], seconds[options.files[0]])
            row = {"file": name, "threads": threads, "clock": clock, "others_share": others}
            record["times"].append({**row, "seconds": spread(seconds[path]), "ratio": ratio})
            milliseconds = 1000 * record["times"][-1]["seconds"]["median"]
            print(f"{name}, {threads} threads: {milliseconds:.1f} ms, {ratio['median']:.2f} x")
    if options.json:
        options.json.write_text(json.dumps(rounded(record), indent=1) + "\n")


if __name__ == "__main__":
    main()
