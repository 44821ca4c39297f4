"""Models of Hugging Face and Kaggle: their addresses, local copies and uploads.

The hubs' own packages download into their caches, and sign in. Of a repository only the files of
one model are read, its description first, so that a large one of another kind is refused soon.
"""

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping

from ssd_keras.core.extras import import_extra
from ssd_keras.core.text import first_cause, one_line, words_of

HUGGING_FACE, KAGGLE = "hf://", "kaggle://"
ADDRESS_HELP = f"{HUGGING_FACE}OWNER/REPO or {KAGGLE}OWNER/MODEL/FRAMEWORK/VARIATION"
NAME = r"[\w.-]+"
FORMS = {
    HUGGING_FACE: (
        "hf://OWNER/REPO[@REVISION][/FILE]",
        re.compile(rf"hf://(?P<model>{NAME}/{NAME})(@(?P<revision>{NAME}))?(/(?P<file>.+))?"),
    ),
    KAGGLE: (
        "kaggle://OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION][/FILE]",
        re.compile(rf"kaggle://(?P<model>{NAME}(/{NAME}){{3}}(/\d+)?)(/(?P<file>.+))?"),
    ),
}
# What a repository holds: the folder that Keras writes there, or the file of a RUN.
CONFIG, OTHER_PARTS = "config.json", ("metadata.json", "model.weights.h5")
MODEL_FILE = "model.keras"
SIGN_IN = "sign in with huggingface_hub.login() or the variable HF_TOKEN"
LIBRARY = "ssd_keras"  # in requests
TIMEOUT_SECONDS = 10
MAX_CONFIG = 8 << 20  # bytes; that of a large model has some 100,000


class MissingFileError(Exception):
    """A repository does not hold a file."""


@dataclasses.dataclass(frozen=True)
class Source:
    """The files of a repository."""

    fetch: Callable[[str], str]  # from a file's name to its local path
    offline: Exception | None = None  # why the hub cannot be reached, so that the cache serves


@dataclasses.dataclass(frozen=True)
class HubAddress:
    """The address of a model."""

    text: str
    hub: str
    model: str
    revision: str | None
    file: str

    @classmethod
    def parse(cls, text: str) -> "HubAddress":
        """Reads an address; raises a ValueError for another form."""
        hub = HUGGING_FACE if text.startswith(HUGGING_FACE) else KAGGLE
        form, pattern = FORMS[hub]
        found = pattern.fullmatch(text.rstrip("/"))
        parts: Mapping[str, str | None] = found.groupdict() if found else {}
        file = parts.get("file") or ""
        if not found or {"", ".", ".."} & set(file.split("/") if file else ()):
            raise ValueError(f"{one_line(repr(text))} is no address of a model; expected {form}.")
        return cls(text, hub, parts["model"] or "", parts.get("revision"), file)


def is_hub_address(name: str) -> bool:
    """Whether a name is the address of a hub."""
    return name.startswith((HUGGING_FACE, KAGGLE))


def local_path(name: str) -> str:
    """Returns the local copy of a hub's model, a file or a folder; any other name is returned."""
    if not is_hub_address(name):
        return name
    address = HubAddress.parse(name)
    source = _hugging_face(address) if address.hub == HUGGING_FACE else _kaggle(address)
    is_file = "." in address.file.rpartition("/")[2]
    with contextlib.suppress(MissingFileError):
        if is_file:
            return source.fetch(address.file)
    folder = f"{address.file}/" if address.file else ""
    with contextlib.suppress(MissingFileError):
        config = source.fetch(folder + CONFIG)
        _check_config(config, name)
        for part in OTHER_PARTS:
            source.fetch(folder + part)
        return os.path.dirname(config)
    with contextlib.suppress(MissingFileError):
        return source.fetch(folder + MODEL_FILE)
    if source.offline:
        raise _unreachable(address, source.offline) from source.offline
    wanted = f"no {address.file!r}" if is_file else f"neither {CONFIG} nor {MODEL_FILE}"
    raise FileNotFoundError(
        f"{one_line(repr(name))} holds {one_line(wanted)} of a model; check the address, or name "
        f"one of its files: {FORMS[address.hub][0]}."
    )


def upload_folder(folder: str, address: HubAddress, title: str) -> str:
    """Writes the files of a folder into a repository of Hugging Face; returns its web address."""
    hub = import_extra("huggingface_hub", "hub", f"saving to {HUGGING_FACE}...")
    api = hub.HfApi(library_name=LIBRARY)
    with _hugging_face_errors(address, "written"):
        repository = api.create_repo(address.model, exist_ok=True)
        api.upload_folder(repo_id=repository.repo_id, folder_path=folder, commit_message=title)
    return str(repository)


def upload_address(text: str) -> HubAddress:
    """Returns the address of a repository that a model can be saved to."""
    address = HubAddress.parse(text)
    if address.hub == KAGGLE:
        raise ValueError(
            f"{one_line(repr(text))}: models are not saved to Kaggle directly; write "
            "model.save('FOLDER', zipped=False) and kagglehub.model_upload('OWNER/MODEL/keras/"
            "VARIATION', 'FOLDER')."
        )
    if address.revision or address.file:
        raise ValueError(
            f"{one_line(repr(text))}: a model is saved to a whole repository; expected "
            "hf://OWNER/REPO."
        )
    return address


def _check_config(path: str, name: str) -> None:
    """Raises a ValueError for the description of another model, before its weights are read."""
    found: object = None
    if os.path.getsize(path) <= MAX_CONFIG:
        with contextlib.suppress(ValueError, RecursionError), open(path, "rb") as file:
            found = json.loads(file.read())
    kind = found.get("class_name") if isinstance(found, dict) else None
    if kind != "SSD":
        kind = one_line(kind, 100) if isinstance(kind, str) else "no Keras model"
        raise ValueError(
            f"{one_line(repr(name))} holds {kind} ({CONFIG}), not an SSD; pass the address of a "
            "model that ssd_keras saved."
        )


def _hugging_face(address: HubAddress) -> Source:
    hub = import_extra("huggingface_hub", "hub", f"loading {HUGGING_FACE}...")
    offline = None
    with _hugging_face_errors(address, "read"):
        try:  # without the retries of a download, which take half a minute
            api = hub.HfApi(library_name=LIBRARY)
            api.model_info(address.model, revision=address.revision, timeout=TIMEOUT_SECONDS)
        except Exception as error:
            if isinstance(error, hub.errors.HfHubHTTPError | ValueError):
                raise
            offline = error

    def fetch(file: str) -> str:
        with _hugging_face_errors(address, "read"):
            return hub.hf_hub_download(
                address.model,
                file,
                revision=address.revision,
                local_files_only=bool(offline),
                library_name=LIBRARY,
            )

    return Source(fetch, offline)


@contextlib.contextmanager
def _hugging_face_errors(address: HubAddress, done: str) -> Iterator[None]:
    """Says in one line why a repository cannot be read or written."""
    from huggingface_hub import errors

    try:
        yield
    except errors.EntryNotFoundError as error:
        raise MissingFileError from error
    except errors.GatedRepoError as error:
        reason = "its owner gives access on request: ask for it on its page, and sign in"
        raise _refused(address, done, reason, SIGN_IN) from error
    except errors.RevisionNotFoundError as error:
        raise _refused(address, done, "it has no such revision", "check the address") from error
    except errors.RepositoryNotFoundError as error:
        reason = "there is no such repository, or it is private"
        raise _refused(address, done, reason, f"check the address, or {SIGN_IN}") from error
    except (errors.HfHubHTTPError, errors.LocalTokenNotFoundError) as error:
        raise _refused(address, done, words_of(error), SIGN_IN) from error
    except ValueError as error:
        raise _refused(address, done, words_of(error), "check the address") from error
    except Exception as error:  # of the HTTP client, which differs by version
        if done == "read":
            raise _unreachable(address, error) from error
        raise _refused(address, done, first_cause(error), "check the connection") from error


def _kaggle(address: HubAddress) -> Source:
    hub = import_extra("kagglehub", "hub", f"loading {KAGGLE}...")
    import requests
    from kagglehub.exceptions import KaggleApiHTTPError

    def fetch(file: str) -> str:
        try:
            return hub.model_download(address.model, path=file)
        except KaggleApiHTTPError as error:
            status = error.response.status_code if error.response is not None else None
            if status == requests.codes.not_found:
                raise MissingFileError from error
            action = "sign in with kagglehub.login(), and agree to the model's terms on its page"
            reason = "there is no such model, or it is not open to all"
            raise _refused(address, "read", reason, f"check the address, or {action}") from error
        except OSError as error:
            raise _unreachable(address, error) from error
        except ValueError as error:
            raise _refused(address, "read", words_of(error), "check the address") from error

    return Source(fetch)


def _refused(address: HubAddress, done: str, reason: str, action: str) -> ValueError:
    return ValueError(f"{address.text!r} cannot be {done}: {reason}; {action}.")


def _unreachable(address: HubAddress, error: BaseException) -> ValueError:
    return ValueError(
        f"{address.text!r} cannot be reached ({first_cause(error)}), and is not in the cache; "
        "check the connection, or pass the path of a downloaded model."
    )
