"""Help texts, wrong words and --version: what is answered without Keras and TensorFlow."""

import ast
import importlib.metadata
import re
import shlex
import subprocess
import sys
import tomllib

import PIL
import pytest

from ssd_keras import cli
from ssd_keras.cli.command_parser import CommandParser
from ssd_keras.cli.data import ACTIONS
from ssd_keras.cli.parser import COMMANDS, EXAMPLES, build_parser
from ssd_keras.data.data_file import EXAMPLE, KEYS, read_data_file
from ssd_keras.data.sources import READERS, join_folder, parse_spec
from ssd_keras.version import __version__

INT8 = ["--format", "tflite", "--quantize", "int8"]
ALL = {"": None} | COMMANDS | {f"data {name}": action for name, action in ACTIONS.items()}


def help_of(command, capsys):
    """The help text of a command, as one line: versions of Python wrap differently."""
    with pytest.raises(SystemExit) as stop:
        cli.main([*command.split(), "--help"])
    assert stop.value.code == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", ALL)
def test_a_help_text_says_what_a_command_does_and_ends_with_an_example(command, capsys):
    text = help_of(command, capsys)
    start = f"ssd-keras {command}".rstrip()
    assert text.startswith(f"usage: {start}")
    description = ALL[command].DESCRIPTION if command else "Trains, measures and exports"
    assert " ".join(description.split()) in text
    examples = ALL[command].EXAMPLES if command else EXAMPLES
    assert text.endswith(" ".join(" ".join(examples).split()))
    for example in examples:
        assert example.startswith(start)
        words = shlex.split(example.replace("\\\n", " ").partition(" > ")[0])
        if words[-1] != "--help":
            assert callable(build_parser().parse_args(words[1:]).run)


def test_every_argument_has_a_sentence_and_a_short_name_of_its_value():
    parsers = [build_parser()]
    for parser in parsers:
        for action in parser._actions:
            if action.nargs == "A...":
                parsers += action.choices.values()
                continue
            name = f"{parser.prog} {action.option_strings or action.dest}"
            assert action.help and len(action.help.split()) > 1, name
            if action.nargs != 0 and not action.choices:
                assert action.metavar.isupper() and len(action.metavar) <= 10, name
    assert len(parsers) == len(ALL)


def test_the_kinds_of_data_are_listed_once(capsys):
    for command in ALL:
        assert "tfrecord:PATTERN" not in help_of(command, capsys)
    assert cli.main(["info", "data"]) == 0
    printed = capsys.readouterr().out
    for name, reader in READERS.items():
        assert reader.form.text in printed and f"such as {reader.example}" in printed
        assert parse_spec(reader.example.replace("'", ""))[0].prefix == name


def test_the_example_of_a_data_file_is_one(tmp_path):
    text = EXAMPLE.partition("\n")[2]
    (tmp_path / "data.toml").write_text(text)
    found = read_data_file(str(tmp_path / "data.toml"), join_folder)
    assert found.train[1] == f"voc:{tmp_path}/VOC2012@trainval"
    assert found.class_names[0] == "aeroplane"
    assert {*tomllib.loads(text.replace("# format", "format"))} == {*KEYS}


@pytest.mark.parametrize("words", [[], ["data"]])
def test_a_command_that_is_left_out_gives_the_help(words, capsys):
    assert cli.main(words) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"usage: {' '.join(['ssd-keras', *words])} ")
    assert ("rename or drop classes" if words else "check, look at") in printed.out
    assert printed.err == ""


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_versions_are_those_that_are_installed(flag, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([flag])
    assert stop.value.code == 0
    versions = {name: importlib.metadata.version(name) for name in ("keras", "tensorflow")}
    assert re.fullmatch(
        rf"ssd_keras {__version__} \(Keras {versions['keras']}, TensorFlow "
        rf"{versions['tensorflow']}(, \w+ [\w.+]+)*, Python 3\.\d+\.\d+\)\n",
        capsys.readouterr().out,
    )


WRONG_WORDS = [
    ("trian", r"command 'trian' is unknown; did you mean 'train'\? choose one of demo, train, .*"),
    ("data chek", r"action 'chek' is unknown; did you mean 'check'\? choose one of check, .*"),
    ("--verison", r"--verison is unknown; did you mean '--version'\? see `ssd-keras --help`"),
    ("evaluate", r"the following arguments are required: MODEL, --data; see `.* evaluate --help`"),
    # Said before what is missing, which may be what was meant.
    (
        "evaluate MODEL --bach-size 8",
        r"--bach-size is unknown; did you mean '--batch-size'\? see `ssd-keras evaluate --help`",
    ),
    ("evaluate --batch_size=8", r"--batch_size is unknown; did you mean '--batch-size'\? .*"),
    ("evaluate --batch 8", r"--batch is unknown; did you mean '--batch-size'\? .*"),
    ("evaluate --xyzzy", r"--xyzzy is unknown; see `ssd-keras evaluate --help`"),
    ("evaluate MODEL --data DATA -o r", r"-o is unknown; see `ssd-keras evaluate --help`"),
    ("import caffe a.caffemodel b --output c.keras", r"'b' is one word too many; see .*"),
    ("import cafe a.caffemodel", r"source 'cafe' is unknown; did you mean 'caffe'\? choose .*"),
    (
        "export MODEL --format savedmodel",
        r"--format 'savedmodel' is unknown; did you mean 'saved_model'\? choose one of .*, triton; "
        r"see `ssd-keras export --help`",
    ),
    (
        "evaluate MODEL --data DATA --bad-data keep",
        r"--bad-data 'keep' is unknown; choose one of drop, refuse; see `.* evaluate --help`",
    ),
    (
        "evaluate MODEL --data DATA --batch-size many",
        r"argument --batch-size: 'many' must be a whole number of 1 or more; see `.*`",
    ),
    (
        "predict MODEL a.jpg --output DIR --batch-size 0",
        r"argument --batch-size: '0' must be a whole number of 1 or more; see `.*`",
    ),
    (
        "predict MODEL a.jpg --output DIR --display-threshold half",
        r"argument --display-threshold: 'half' must be a number between 0 and 1; see `.*`",
    ),
    (
        "predict MODEL a.jpg --output DIR --display-threshold nan",
        r"argument --display-threshold: 'nan' must be a number between 0 and 1; see `.*`",
    ),
    (
        "train --output RUN --train-data DATA --data-workers two",
        r"argument --data-workers: 'two' must be a whole number, or HOST:PORT such as "
        r"host1:5050; see `.*`",
    ),
    (
        "info prests",
        r"'prests' does not exist; did you mean 'presets'\? `ssd-keras info presets` and .*",
    ),
]


@pytest.mark.parametrize(("words", "message"), WRONG_WORDS, ids=[x for x, _ in WRONG_WORDS])
def test_a_wrong_word_gives_one_line(words, message, capsys):
    assert cli.main(words.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(f"ssd-keras: {message}\n", printed.err), printed.err


def test_words_behind_two_hyphens_are_no_flags():
    parser = CommandParser(prog="p")
    parser.add_argument("files", nargs="*")
    assert parser.parse_args(["a", "--", "--b"]).files == ["a", "--b"]


def test_what_can_be_answered_at_once_imports_no_framework():
    answered = [["--help"], ["--version"], ["train", "--help"], ["info", "presets"], []]
    refused = [["info", "own_data"], ["export", "model", *INT8, "--output", "x.tflite"]]
    command = (
        "import sys; sys.stderr = sys.stdout\n"
        "from ssd_keras import cli\n"
        "def status(words):\n"
        "    try:\n        return cli.main(words)\n"
        "    except SystemExit as stop:\n        return stop.code\n"
        f"assert [status(words) for words in {answered!r}] == [0] * {len(answered)}\n"
        "heavy = {'numpy', 'requests', 'matplotlib'} & sys.modules.keys()\n"
        f"assert [status(words) for words in {[['info', 'recipes'], *refused]!r}] == [0, 2, 2]\n"
        "print(sorted(heavy | ({'tensorflow', 'keras', 'jax'} & sys.modules.keys())))"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert done.stderr == ""
    imports = ast.literal_eval(done.stdout.splitlines()[-1])
    assert imports == [] or (imports == ["numpy"] and PIL.__version__ < "11")  # Pillow's own import
