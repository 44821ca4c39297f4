"""What can be wrong with data, by kind."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum

from ssd_keras.core.text import one_line, short_list
from ssd_keras.data.image_sources import ImageSource

DROPPED, CLIPPED, REST_DROPPED = "dropped", "clipped", "the rest dropped"
NO_OBJECTS = "read as images without objects"
LOSSES = (DROPPED, CLIPPED, REST_DROPPED)  # any other action is a note: nothing is lost
MAX_LOCATIONS = 2  # beside the first of a kind
MAX_GROUPS, MAX_NAMES = 4, 20  # of a kind: lines of single groups, names in the line of the rest


class Scope(StrEnum):
    """What a problem makes unusable."""

    FILE = "file"
    IMAGE = "image"
    OBJECT = "object"


FILE, IMAGE, OBJECT = Scope


class ProblemKind(Enum):
    """Kind of a data problem: scope, title in reports, sentence and default action.

    The sentence says what is wrong and what was expected; "{}" stands for the problem's detail.
    """

    scope: Scope
    title: str
    sentence: str
    action: str

    # fmt: off
    NO_AREA = (OBJECT, "boxes of no area",
               "{} has no area; expected a width and a height above 0")
    SWAPPED_CORNERS = (OBJECT, "boxes with swapped corners",
                       "{} has swapped corners; expected xmin < xmax and ymin < ymax",
                       "put in order")
    NOT_FOUR_NUMBERS = (OBJECT, "boxes that are not four numbers",
                        "{} is not four numbers; expected finite pixels")
    OUTSIDE_IMAGE = (OBJECT, "boxes outside their image", "{} lies outside the image")
    REACHES_OUTSIDE = (OBJECT, "boxes that reach outside their image",
                       "{} reaches outside the image", CLIPPED)
    UNKNOWN_CLASS = (OBJECT, "objects of unknown classes", "unknown class {}")
    NO_CLASS_NAME = (OBJECT, "objects without a class name",
                     "the object has no class name; expected one line of text")
    UNKNOWN_IMAGE = (OBJECT, "objects of unknown images",
                     "unknown image_id {}; expected the id of one of the images")
    BAD_LINE = (OBJECT, "lines that cannot be read",
                "{} is not understood; expected class x y width height")
    NO_LABEL_FILE = (FILE, "images without label files",
                     "none of {}; expected a label file for each image with objects",
                     NO_OBJECTS)
    LABELS_WITHOUT_IMAGE = (FILE, "label files without an image",
                            "no image has the name of the label file; expected it in {}")
    POSE_ROW = (OBJECT, "rows of poses", "{} is a box with key points",
                "read without the key points")
    SHARED_ANNOTATION = (IMAGE, "images that share an annotation file",
                         "the annotation file is that of {}; expected one for each image")
    MISSING_IMAGE = (IMAGE, "missing images", "the image is missing; expected a file there")
    MISSING_ANNOTATION = (IMAGE, "missing annotation files",
                          "the annotation file is missing; expected it there")
    BAD_ANNOTATION = (IMAGE, "annotation files that cannot be read", "the annotation file cannot "
                      "be read ({}); expected a plain file in the data's format")
    BROKEN_IMAGE = (IMAGE, "broken images", "{}")
    UNREAD_FORMAT = (IMAGE, "images in formats that are not read", "{}")
    TOO_LARGE = (IMAGE, "images that are too large", "{}")
    OTHER_FORMAT = (IMAGE, "images in other formats than JPEG and PNG", "it is {}",
                    "converted to PNG")
    DARK = (IMAGE, "16-bit images that are nearly black", "its levels use {} of 16 bits, so that "
            "it is nearly black; scale the levels of all images by the sensor's range", "read "
            "as it is")
    TURNED = (IMAGE, "images that EXIF data turn", "EXIF orientation {} turns it, and no annotated "
              "size says whether the boxes are turned too; expected boxes of the upright image",
              "turned upright")
    BAD_SIZE = (IMAGE, "annotations without a usable size", "the size is {}; expected the width "
                "and height of the image", "taken from the image")
    OTHER_SIZE = (IMAGE, "images of another size than annotated",
                  "the image has {} as annotated (width x height)")
    DUPLICATE_IMAGE = (IMAGE, "images that are listed twice",
                       "image {} is listed twice; expected each image once")
    NO_IMAGE_ID = (IMAGE, "images without an id",
                   "the image has no id; expected a whole number or one line of text")
    NO_IMAGE_PATH = (IMAGE, "images without a path", "the path of the image is {}; expected one "
                     "line of text, a path below the image folder")
    PATH_OUTSIDE = (IMAGE, "image paths that lead out of the data set",
                    "the path {} leads out of the image folder; expected a path below it")
    SYMBOLIC_LINK = (IMAGE, "symbolic links that lead out of the data set",
                     "a symbolic link leads out of {}; copy the file there")
    BAD_RECORD = (IMAGE, "records that cannot be read",
                  "the record has {}; expected a tf.train.Example with an image and its boxes")
    UNREADABLE = (IMAGE, "files that cannot be read", "the file cannot be read ({})")
    BAD_CATEGORY = (FILE, "categories that cannot be used", "the category has {}; expected a whole "
                    "number as id and one line of text as name")
    DUPLICATE_CATEGORY = (FILE, "category ids that occur twice",
                          "category id {}; expected each id once")
    SAME_CATEGORY = (FILE, "categories of one name", "categories {}", "taken as one class")
    UMBRELLA_CATEGORY = (FILE, "categories that stand for all others",
                         "category {} has no object, and all others are of it", "no class")
    SAME_FILE = (IMAGE, "images of one file", "the image is of the same file as image {}", "kept")
    OTHER_TEXT = (OBJECT, "class texts that the label map lacks",
                  "no item of the label map is called {}", "read by number")
    BACKGROUND = (FILE, "background classes", "item 0 of the label map is the background, which is "
                  "no class", "not used")
    OTHER_PATH = (IMAGE, "images found under another path",
                  "the image folder has no {}", "read from there")
    SEVERAL_COLUMNS = (FILE, "tables with several columns for one",
                       "the table has {}", "read from the first of them")
    NO_COLUMN_NAMES = (FILE, "tables without column names", "the first line has no column names",
                       "read as path, x1, y1, x2, y2, class")
    BAD_FLAG = (OBJECT, "flags that are no yes or no",
                "{}; expected 0, 1, false or true", "taken as no")
    BELOW_ONE_PIXEL = (OBJECT, "objects below one pixel",
                       "{} pixels is smaller than a pixel; expected pixels", "kept")
    RELATIVE_BOXES = (FILE, "files of relative boxes", "all corners lie within 0 and 1; expected "
                      "pixels", "read as shares of the image's sides")
    DROPPED_CLASS = (OBJECT, "objects of classes to drop", "class '{}' is to be dropped",
                     "not used")
    UNKNOWN_CHANGE = (FILE, "classes to rename or drop that the data lack",
                      "the data have no class {}", "ignored")
    SIMILAR_NAMES = (FILE, "class names that differ in case or blanks alone",
                     "{} differ in case or blanks alone; rename one in data.toml if they are one",
                     "kept as two classes")
    DAMAGED_FILE = (FILE, "damaged record files", "the file is {}; expected TFRecords",
                    REST_DROPPED)
    # fmt: on

    def __init__(self, scope: Scope, title: str, sentence: str, action: str = DROPPED) -> None:
        self.scope, self.title, self.sentence, self.action = scope, title, sentence, action


class BadDataError(ValueError):
    """Data that cannot be used, with the kind, the detail, the group and the box of the problem."""

    def __init__(
        self,
        kind: ProblemKind,
        detail: str = "",
        group: str = "",
        box: Sequence[float] | None = None,
    ) -> None:
        super().__init__(kind.sentence.format(detail))
        self.kind, self.detail, self.group, self.box = kind, detail, group, box


@dataclass(frozen=True)
class Problem:
    """Something that a data set has and a reader changed; `str(problem)` says it in one line.

    Args:
        kind: what is wrong; `kind.title`, `kind.scope` ("file", "image" or "object").
        location: the file, and the image, object or line in it, such as "a.xml: object 3 (RBC)".
        detail: what the data have there, default none; quoted by the sentence.
        action: what was done about it; default `kind.action`, mostly "dropped".
        group: what problems of one kind that belong in one line share, such as the name of an
            unknown class; default none: all problems of the kind.
        image: the image in question, default None: none or not known.
        box: x, y, width, height in pixels of the object in question, default None.
    """

    kind: ProblemKind
    location: str
    detail: str = ""
    action: str = ""
    group: str = ""
    image: ImageSource | None = field(default=None, compare=False, repr=False)
    box: Sequence[float] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Both quote files, which may hold line breaks and anything else.
        for name in ("location", "detail"):
            object.__setattr__(self, name, one_line(getattr(self, name)))
        object.__setattr__(self, "action", self.action or self.kind.action)

    def __str__(self) -> str:
        return f"{self.location}: {self.sentence}; {self.action}"

    @property
    def sentence(self) -> str:
        """What is wrong and what was expected."""
        return self.kind.sentence.format(self.detail)

    @property
    def is_loss(self) -> bool:
        """Whether something of the data is lost or changed; else the problem is a note."""
        return self.action in LOSSES


def problem_lines(problems: Sequence[Problem]) -> list[str]:
    """Returns one line for each kind of problem: how many, the first of them, others' locations.

    Of a kind with many groups, such as unknown classes, the largest have a line each.
    """
    kinds: dict[tuple[ProblemKind, str], dict[str, list[Problem]]] = {}
    for problem in problems:
        groups = kinds.setdefault((problem.kind, problem.action), {})
        groups.setdefault(problem.group, []).append(problem)
    lines: list[str] = []
    for groups in kinds.values():
        by_size = sorted(groups.values(), key=len, reverse=True)
        num_shown = MAX_GROUPS if len(by_size) > 1 + MAX_GROUPS else len(by_size)
        lines += map(_line, by_size[:num_shown])
        if rest := by_size[num_shown:]:
            lines.append(_line_of_groups(rest))
    return lines


def _line_of_groups(groups: Sequence[Sequence[Problem]]) -> str:
    first = groups[0][0]
    names = short_list([f"'{group[0].group}'" for group in groups], MAX_NAMES)
    count = f"{sum(map(len, groups))} more {first.kind.scope}s"
    return one_line(f"{first.kind.title}: {count} {first.action}: {names}")


def _line(group: Sequence[Problem]) -> str:
    first, *others = group
    if not others:
        return str(first)
    count = f"{len(group)} {first.kind.scope}s"
    num_images = len({str(problem.image) for problem in group if problem.image is not None})
    if first.kind.scope is OBJECT and num_images > 1:
        count += f" of {num_images} images"
    also = short_list([problem.location for problem in others], MAX_LOCATIONS)
    return (
        f"{first.kind.title}: {count} {first.action}; first {first.location}: {first.sentence}; "
        f"also {also}"
    )


def problem_of(error: Exception, location: str) -> Problem:
    """Returns the problem that an error of reading an image or its annotation stands for."""
    if isinstance(error, BadDataError):
        return Problem(error.kind, location, error.detail, group=error.group, box=error.box)
    if isinstance(error, FileNotFoundError):
        return Problem(ProblemKind.MISSING_IMAGE, location)
    return Problem(ProblemKind.UNREADABLE, location, str(error))
