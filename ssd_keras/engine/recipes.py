"""Recipes: every choice of a training in nested frozen records, read from TOML files."""

import dataclasses
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from operator import attrgetter
from typing import Annotated, Any, Literal, get_origin

import tomli_w

from ssd_keras.core.parts import part_table
from ssd_keras.core.records import (
    NONE,
    PartOf,
    complete_parts,
    default_part,
    dotted,
    field_types,
    from_table,
    part_kind,
)
from ssd_keras.core.text import nearest_name, one_line, short_list, unknown_name
from ssd_keras.data.augmentation.augmentation import Augmentation
from ssd_keras.data.augmentation.registry import KIND
from ssd_keras.engine.recipe_groups import (
    LENGTHS,
    DataRecipe,
    LossRecipe,
    ModelRecipe,
    OptimizerRecipe,
    RecipeRecord,
    RunRecipe,
    ScheduleRecipe,
)

MAX_DEPTH = 8  # tables within tables: more than any value lies in
VERSION = 1  # of the files
RUN_FILE = "recipe.toml"  # in a RUN folder
RECIPES = resources.files("ssd_keras") / "recipes"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainRecipe:
    """Every choice of a training. The defaults are the paper's.

    `ssd-keras info recipe NAME` shows all values with their meaning.

    Args:
        model: preset, its options, weights of the backbone.
        data: which objects are learned.
        augmentation: `Augmentation`.
        assigner: table that decides which default box learns which object: its type and options.
            Default "max_iou" with the paper's threshold 0.5.
        loss: losses of boxes and classes.
        optimizer: optimizer, learning rates, weight decay.
        schedule: length of the training, course of the learning rate.
        run: batch size, precision, validations, seed.
        record: paper, command and expected result; it does not count when recipes are compared.

    Raises:
        ValueError: a value is out of range.

    Example:

    >>> recipe = load_recipe("own_data").replace({"schedule.epochs": 40, "loss.classes": "focal"})
    >>> recipe.schedule.epochs, recipe.optimizer.name, recipe.loss.classes
    (40, 'adamw', {'type': 'focal'})
    """

    model: ModelRecipe
    data: DataRecipe = DataRecipe()
    augmentation: Augmentation = Augmentation()
    assigner: Annotated[Mapping[str, Any], PartOf("assigner")] = default_part("max_iou")
    loss: LossRecipe = dataclasses.field(default_factory=LossRecipe)
    optimizer: OptimizerRecipe = OptimizerRecipe()
    schedule: ScheduleRecipe
    run: RunRecipe = RunRecipe()
    record: RecipeRecord = dataclasses.field(default=RecipeRecord(), compare=False)

    def __post_init__(self) -> None:
        complete_parts(self)

    def length(self, num_images: int) -> tuple[int, int]:
        """Returns the length of a training by epochs or steps.

        Args:
            num_images: number of training images.

        Returns:
            epochs, and steps of each epoch. A training by minutes has 0 epochs: their number is
            measured.

        Example:

        >>> load_recipe("own_data").replace({"schedule.steps": 100}).length(200)
        (4, 25)
        """
        steps_per_epoch = max(1, num_images // self.run.batch_size)
        schedule = self.schedule
        if schedule.steps:
            steps_per_epoch = min(steps_per_epoch, schedule.steps)
        return schedule.epochs or -(-schedule.steps // steps_per_epoch), steps_per_epoch

    def replace(self, changes: Mapping[str, Any]) -> "TrainRecipe":
        """Returns a recipe with other values, as `--set` of the command line does.

        The lengths `schedule.epochs`, `.steps` and `.minutes` take each other's place. A new type
        of a part takes the place of its whole table.

        Args:
            changes: new values by dotted names, such as "optimizer.learning_rate".

        Returns:
            `TrainRecipe`; without a record where a value changed.

        Raises:
            ValueError: for an unknown name, or a value of a wrong type or out of range.
        """
        tables = self.to_tables()
        lengths = [name for name in changes if name.removeprefix("schedule.") in LENGTHS]
        for name in LENGTHS if lengths else ():
            tables["schedule"][name] = 0
        for name, value in changes.items():
            _check_name(name, value)
            _assign(tables, name, value)
        changed = TrainRecipe.from_tables(tables)
        return self if changed == self else dataclasses.replace(changed, record=RecipeRecord())

    def to_tables(self) -> dict[str, Any]:
        """Returns all values as nested dictionaries."""
        tables = dataclasses.asdict(self)
        for name in ("before", "after"):
            steps = getattr(self.augmentation, name)
            tables["augmentation"][name] = tuple(part_table(KIND, step) for step in steps)
        return tables

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any]) -> "TrainRecipe":
        """Builds a recipe from nested dictionaries, which may leave out values.

        Args:
            tables: dictionaries of the groups, such as `{"model": {"preset": "ssd300_vgg16_voc"},
                "schedule": {"epochs": 10}}`; a part may be given by its type alone.

        Returns:
            `TrainRecipe`.

        Raises:
            ValueError: for an unknown name, or a value of a wrong type or out of range.
        """
        for name in sorted(tables.keys() - field_types(cls).keys()):
            if not isinstance(tables[name], Mapping) and (meant := _meant_name(name)):
                raise ValueError(f"group {name!r} is unknown; did you mean {meant!r}?")
        return from_table(cls, tables)

    def to_toml(self) -> str:
        """Returns the text of a recipe file with all values, and what the record knows."""
        tables = self.to_tables()
        record = {name: value for name, value in tables.pop("record").items() if value}
        tables |= {"record": record} if record else {}
        return tomli_w.dumps({"version": VERSION, **_texts_for_none(tables)})


def load_recipe(name: str) -> TrainRecipe:
    """Reads a recipe.

    Args:
        name: a recipe of `ssd-keras info recipes`, the path of a TOML file, or a RUN folder of
            `ssd-keras train`.

    Returns:
        `TrainRecipe`.

    Raises:
        FileNotFoundError: there is no such recipe.
        ValueError: the file is not a recipe.

    Example:

    >>> load_recipe("ssd300_voc0712").schedule.steps
    120000
    """
    if name in recipe_names():
        return parse_recipe((RECIPES / f"{name}.toml").read_bytes(), name)
    path = os.path.join(name, RUN_FILE) if os.path.isdir(name) else name
    if not os.path.isfile(path):
        is_name = path == os.path.basename(path) and not path.endswith(".toml")
        unknown = unknown_name("recipe", name, recipe_names(), "ssd-keras info recipes")[:-1]
        missing = f"recipe {path!r} does not exist; choose one of `ssd-keras info recipes`"
        raise FileNotFoundError(
            f"{unknown if is_name else missing}, or pass a TOML file or a RUN folder."
        )
    with open(path, "rb") as file:
        return parse_recipe(file.read(), path)


def paper_recipe(preset: str) -> TrainRecipe:
    """Returns the paper's training of a preset, or of a trained model."""
    schedule = ScheduleRecipe(steps=120_000, decay_steps=(2 / 3, 5 / 6))
    return TrainRecipe(model=ModelRecipe(preset), schedule=schedule)


def recipe_names() -> list[str]:
    """Returns the names of the recipes that are shipped."""
    return sorted(file.name.removesuffix(".toml") for file in RECIPES.iterdir())


def parse_recipe(data: bytes, name: str) -> TrainRecipe:
    """Reads the TOML of a recipe; `name` is that of its file in messages."""
    try:
        tables = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"recipe {name!r} is not TOML ({error}); correct it.") from error
    if (version := tables.pop("version", VERSION)) != VERSION:
        raise ValueError(
            f"recipe {name!r} has the version {version!r}; expected {VERSION}: another version of "
            "ssd_keras wrote it."
        )
    try:
        return TrainRecipe.from_tables(tables)
    except ValueError as error:
        raise ValueError(f"recipe {name!r}: {error}") from error


def override(recipe: TrainRecipe, assignments: Sequence[str]) -> TrainRecipe:
    """Applies "name=value" texts: values are TOML, and a text needs no quotes."""
    changes = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(
                f"--set {one_line(repr(assignment))} has no value; write NAME=VALUE, such as "
                "optimizer.learning_rate=0.002."
            )
        changes[name] = _parse_value(text, _annotation(name))
    return recipe.replace(changes)


def changed_parts(recipe: TrainRecipe) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Yields kind, table and dotted name of the parts that are not the paper's."""
    paper = paper_recipe(recipe.model.preset)
    for name in value_names():
        table, kind = attrgetter(name)(recipe), part_kind(_annotation(name))
        if kind and table != attrgetter(name)(paper):
            yield kind, table, name


def value_names() -> list[str]:
    """Returns the dotted names of all values of a recipe."""
    names = []
    for group, annotation in field_types(TrainRecipe).items():
        fields = field_types(annotation) if dataclasses.is_dataclass(annotation) else {}
        names += [dotted(group, field) for field in fields] or [group]
    return names


def _check_name(name: str, value: Any) -> None:
    """Raises a `ValueError` for a name that no group has; what a table takes, its part knows."""
    known = value_names()
    group, _, last = name.partition(".")
    if any(f"{name}.".startswith(f"{each}.") for each in known):
        return
    own = [each for each in known if each.startswith(f"{group}.")]
    if own and not last:
        if isinstance(value, str | int | float):
            raise ValueError(
                f"recipe value {name!r} is a group; write one of {short_list(own)}, with its value."
            )
        return
    meant = _meant_name(name)
    question = f"did you mean {meant!r}? " if meant else ""
    raise ValueError(
        f"recipe value {one_line(repr(name))} is unknown; {question}`ssd-keras info recipe "
        "own_data` lists the names."
    )


def _meant_name(name: str) -> str | None:
    """Returns the dotted name that was probably meant by one with a wrong group, or none."""
    group, _, last = name.rpartition(".")
    groups = [each for each in value_names() if each.startswith(f"{group}.")]
    owners: dict[str, str] = {}
    for each in [*groups, *value_names()]:
        owners.setdefault(each.rpartition(".")[2], each)
    near = nearest_name(last, owners)
    return owners[near] if near else None


def _annotation(name: str) -> Any:
    """Returns the annotation of a value, or Any within a table and for an unknown name."""
    annotation: Any = TrainRecipe
    for key in name.split("."):
        is_record = dataclasses.is_dataclass(annotation)
        annotation = field_types(annotation).get(key, Any) if is_record else Any
    return annotation


def _parse_value(text: str, annotation: Any) -> Any:
    """Reads TOML; what is not TOML, or stands for a text, is a text."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        if text[:1] in ("[", "{", '"', "'"):
            raise ValueError(f"{one_line(text)} is not TOML ({error}); correct it.") from error
        return text
    takes_text = annotation is str or part_kind(annotation) or get_origin(annotation) is Literal
    return text if takes_text and not isinstance(value, str | dict | list) else value


def _assign(tables: dict[str, Any], name: str, value: Any) -> None:
    """Sets a value by its dotted name."""
    *path, last = name.split(".")
    if len(path) > MAX_DEPTH:
        raise ValueError(f"recipe value {one_line(repr(name))} lies too deep.")
    table = tables
    for key in path:
        if isinstance(table.get(key), str):  # a part by its type alone
            table[key] = {"type": table[key]}
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            table_name = name.partition(f".{key}")[0]
            raise ValueError(
                f"recipe value {one_line(repr(name))} is unknown; did you mean "
                f"'{table_name}.{key}'?"
            )
    if last == "type":
        table.clear()  # the options are those of the old type
    table[last] = value


def _texts_for_none(value: Any) -> Any:
    """Returns tables and lists with a text in place of None, which TOML does not have."""
    if isinstance(value, dict):
        return {key: _texts_for_none(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_texts_for_none(each) for each in value]
    return NONE if value is None else value
