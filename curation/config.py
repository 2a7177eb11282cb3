"""`dataset.toml`: what a dataset is made of and every knob of the route.

Each section is one model below; a field's description is its documentation, and
`counterset init` writes them all out as comments. An unknown key, a wrong type or a
contradiction raises ConfigError: the key's path, what was found, what is allowed.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, cast, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from curation.errors import ConfigError, nearest
from curation.schemas import CANNOT_TELL, QUESTIONS

Fraction = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[
    str, Field(min_length=1, max_length=100, pattern=r"^[^/\\\x00-\x1f]+$")
]


class Section(BaseModel):
    """A table of dataset.toml: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    LOCATED: ClassVar[tuple[str, ...]] = ()
    """Fields that are paths from dataset.toml's folder."""

    def located(self, base: Path) -> Self:
        """The same with absolute paths."""
        paths: dict[str, Path | list[Path]] = {}
        for name, value in self:
            if name in self.LOCATED and isinstance(value, Path):
                paths[name] = (base / value).resolve()
            elif name in self.LOCATED and isinstance(value, list):
                paths[name] = [(base / one).resolve() for one in value]
        return self.model_copy(update=paths)


class About(Section):
    """What the dataset is called and how its card introduces it."""

    LOCATED: ClassVar[tuple[str, ...]] = ("card",)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")] = Field(
        description="short name: lower-case letters, digits, '.', '_' and '-'"
    )
    title: str = Field("", description="name for people; the short name when empty")
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")] = Field(
        "1.0.0", description="major.minor.patch"
    )
    description: str = Field("", description="one paragraph for the data card")
    authors: list[Annotated[str, Field(min_length=1)]] = Field(
        [],
        description="who made the dataset, as to be cited: 'Family, Given', or the "
        "name of a group",
    )
    annotators: str = Field(
        "",
        description="who the annotators are, and how they were found, told and paid, "
        "for the data card",
    )
    contact: str = Field("", description="where takedown requests go")
    card: Path | None = Field(
        None,
        description="Markdown of your own for the data card, relative to dataset.toml",
    )


class ClassSpec(Section):
    """A class of animals."""

    name: Name = Field(description="as in folder names and prompts")
    imagenet_index: Annotated[int, Field(ge=0, le=999)] | None = Field(
        None, description="place among ImageNet's 1,000 classes, 0-999"
    )
    label: str = Field("", description="wording in prompts; the name when empty")
    scientific_name: str = Field("", description="taxon, for sources that have taxa")
    common: str = Field(
        "", description="background published as common, for the record"
    )
    counter: str = Field(
        "", description="background published as counter, for the record"
    )


class Background(Section):
    """A background label and the sentences that describe it to CLIP."""

    name: Name = Field(description="the label people confirm")
    prompts: Annotated[
        list[Annotated[str, Field(min_length=1)]], Field(min_length=1)
    ] = Field(description="one or more sentences; '{}' stands for the class")


class SourceSpec(Section):
    """A place photos come from: each module of `curation.sources` extends this.

    Fields that are paths are taken from dataset.toml's folder.
    """

    kind: str = Field(description="which kind of source")

    LOCATED: ClassVar[tuple[str, ...]] = ("path",)


class Collect(Section):
    """Which of the records that sources know become candidates.

    They hold for sources on the network; everything in a folder is a candidate.
    """

    per_class: Annotated[int, Field(ge=1)] = Field(
        1000, description="photos wanted of a class, from each source"
    )
    licences: list[str] = Field(
        ["CC0-1.0", "Public Domain", "CC-BY", "CC-BY-SA", "CC-BY-NC"],
        description="licences let in; a name without version stands for every version; "
        "unknown or missing is never let in",
    )
    per_observation: Annotated[int, Field(ge=1)] = Field(
        1, description="photos of one observation: they show one animal in one place"
    )
    per_observer: Annotated[int, Field(ge=0)] = Field(
        50, description="photos of one observer in a class; 0: any number"
    )
    per_observer_day: Annotated[int, Field(ge=0)] = Field(
        2, description="photos of one observer on one day in a class; 0: any number"
    )
    order: Literal["newest", "oldest", "random"] = Field(
        "random", description="which records come first, where a source can tell"
    )
    seed: int = Field(0, description="of the random order")

    coordinates: Literal["drop", "coarse"] = Field(
        "drop",
        description="where a photo was taken: left out, or rounded to 0.1 degree; "
        "always left out where the source obscures it",
    )

    @field_validator("licences")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        from curation.licences import normalise

        for name in names:
            if normalise(name) is None:
                message = f"collect.licences: {name!r} is no licence that is known"
                raise ValueError(message)
        return names


class Host(Section):
    """Limits of one host, in place of those that are built in."""

    name: Name = Field(description="host name, such as api.inaturalist.org")
    per_minute: Annotated[float, Field(gt=0)] | None = Field(
        None, description="requests a minute; absent: no limit"
    )
    per_day: Annotated[int, Field(gt=0)] | None = Field(
        None, description="requests a day; absent: no limit"
    )
    bytes_per_hour: Annotated[int, Field(gt=0)] | None = Field(
        None, description="bytes received an hour; absent: no limit"
    )
    bytes_per_day: Annotated[int, Field(gt=0)] | None = Field(
        None, description="bytes received a day; absent: no limit"
    )
    private: bool = Field(
        False, description="the host may have a private or loopback address (a mirror)"
    )


class Http(Section):
    """How services are asked."""

    contact: str = Field(
        "",
        description="e-mail address or web page where you can be reached, told to "
        "every service; some demand it",
    )
    connections: Annotated[int, Field(ge=1, le=64)] = Field(
        16, description="photos fetched at once"
    )
    attempts: Annotated[int, Field(ge=1, le=10)] = Field(
        4, description="times a request is tried"
    )
    timeout: Annotated[float, Field(gt=0)] = Field(
        30.0, description="without a byte for so long, a request has failed, seconds"
    )
    hosts: list[Host] = Field([], description="limits of single hosts")


class Fetch(Section):
    """Limits on the files that are let in."""

    max_bytes: Annotated[int, Field(gt=0)] = Field(
        50_000_000, description="larger files are refused, bytes"
    )
    max_pixels: Annotated[int, Field(gt=0)] = Field(
        100_000_000, description="larger pictures are refused before decoding, pixels"
    )


class Hash(Section):
    """How photos are decoded to be hashed and measured."""

    path: Literal["full", "fast"] = Field(
        "full",
        description="full: every pixel, hashes equal imagehash's; fast: JPEGs are "
        "scaled down in the decoder, hashes differ by a few bits, and there is no hash "
        "of pixels, no sharpness and no noise",
    )


class Embed(Section):
    """The checkpoint whose embeddings propose and screen."""

    model: str = Field(
        "open_clip:ViT-B-32-quickgelu/laion400m_e32",
        description="model name, see `counterset models`",
    )


class Dedup(Section):
    """When two photos are the same, in this dataset and in others."""

    LOCATED: ClassVar[tuple[str, ...]] = ("against",)

    auto_radius: Annotated[int, Field(ge=0, le=16)] = Field(
        4, description="pHash distance up to which photos are merged, bits of 64"
    )
    review_radius: Annotated[int, Field(ge=0, le=20)] = Field(
        10,
        description="up to here merged only when thumbs or the embedding agree, bits",
    )
    confirm_cosine: Fraction = Field(
        0.95, description="embedding cosine that confirms a pair in the review radius"
    )
    suggest_cosine: Fraction = Field(
        0.98, description="embedding cosine from which a pair is shown to a person"
    )
    min_texture: Annotated[float, Field(ge=0)] = Field(
        6.0,
        description="photos with less contrast are not compared by hash, grey levels",
    )
    keeper: list[Literal["licence", "resolution", "earliest"]] = Field(
        ["licence", "resolution", "earliest"],
        description="which of two duplicates is kept, first difference decides",
    )
    burst_cosine: Fraction = Field(
        0.9,
        description="embedding cosine from which photos of one observer and day are a "
        "burst: no copies, but they stay together and count as one in intervals",
    )
    against: list[Path] = Field(
        [],
        description="hash tables of other sets (`counterset hash FOLDER --out FILE`): "
        "photos that are in them too are reported; relative to dataset.toml",
    )
    drop_leaks: bool = Field(
        False, description="photos of those sets are in no group, not only reported"
    )


class Propose(Section):
    """CLIP's guess at the background."""

    abstain_below: Fraction = Field(
        0.5, description="calibrated probability under which no proposal is made"
    )
    temperature: Annotated[float, Field(gt=0)] | None = Field(
        None, description="fixed temperature; fitted on labelled photos when absent"
    )


class Tasks(Section):
    """What people are asked, and in which order."""

    answers: Annotated[int, Field(ge=1)] = Field(
        2, description="annotators wanted per photo and question"
    )
    review_above: Fraction = Field(
        0.8, description="score from which a criterion becomes a question"
    )
    blind: bool = Field(False, description="hide the proposal from annotators")


class Labels(Section):
    """Labelling in Label Studio: its project, and how its pages get the pictures."""

    LOCATED: ClassVar[tuple[str, ...]] = ("gold", "documents")

    title: str = Field(
        "", description="title of the project; the dataset's title when empty"
    )
    guide: str = Field(
        "", description="advice of your own, shown before labelling starts"
    )
    calibration: Annotated[int, Field(ge=0)] = Field(
        0, description="photos that every annotator is asked, to measure agreement"
    )
    gold: Path | None = Field(
        None,
        description="CSV or JSONL of photos with known answers, which every annotator "
        "is asked: columns photo, question, answer; relative to dataset.toml",
    )
    images: Literal["local", "s3", "serve"] = Field(
        "local",
        description="local (a folder the server can read), s3 (a bucket, presigned "
        "URLs), or serve (`counterset labels serve`, on this machine)",
    )
    documents: Path | None = Field(
        None,
        description="local: folder that is the server's LOCAL_FILES_DOCUMENT_ROOT; "
        "`labels` in the work folder when absent; relative to dataset.toml",
    )
    documents_on_server: str = Field(
        "", description="local: the same folder as the server sees it, if another path"
    )
    bucket: str = Field("", description="s3: name of the bucket")
    prefix: str = Field("counterset", description="s3: folder in the bucket")
    endpoint: str = Field("", description="s3: URL of the service; AWS's when empty")
    region: str = Field("", description="s3: region")
    address: str = Field(
        "http://127.0.0.1:8099",
        description="serve: where `counterset labels serve` listens",
    )


class Resolve(Section):
    """How answers become labels."""

    min_answers: Annotated[int, Field(ge=1)] = Field(
        1, description="annotators needed for a verdict"
    )
    adjudicators: list[str] = Field(
        [], description="annotators whose answer settles a question"
    )
    exclude: list[str] = Field([], description="annotators whose answers do not count")


class Group(Section):
    """How backgrounds become common and counter."""

    reference: Annotated[list[str], Field(min_length=1)] = Field(
        ["open_clip:ViT-B-32-quickgelu/laion400m_e32"],
        description="discovery models; several vote",
    )
    vote: Literal["mean", "majority"] = Field(
        "mean",
        description="how several models vote: a photo counts by the share of them that "
        "is right, or wholly when most are",
    )
    min_drop_points: Annotated[float, Field(ge=0, le=100)] = Field(
        5.0, description="a class is kept when accuracy varies by more, points"
    )
    min_photos: Annotated[int, Field(ge=2)] = Field(
        30, description="photos a background needs to be considered"
    )
    splits: Annotated[int, Field(ge=2)] = Field(
        100, description="random halvings of the cross-fitted drop"
    )
    permutations: Annotated[int, Field(ge=99)] = Field(
        2000, description="shuffles of the permutation test"
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="of halvings and shuffles")


class Evaluate(Section):
    """The benchmark that ends the route."""

    models: list[str] = Field(
        ["open_clip:ViT-B-32-quickgelu/laion400m_e32"], description="models to measure"
    )
    prompts: str = Field(
        "paper", description="paper (one sentence), openai80, openclip7, or a file"
    )
    label_space: str = Field(
        "imagenet", description="imagenet (1 of 1,000), dataset, or a named subset"
    )


class Release(Section):
    """How the dataset is written."""

    shard_bytes: Annotated[int, Field(ge=1_000_000)] = Field(
        300_000_000, description="size of a Parquet shard, bytes"
    )
    licences: list[str] = Field(
        [], description="licences let into the release; every stated one when empty"
    )


class Report(Section):
    """The page that ends the route."""

    LOCATED: ClassVar[tuple[str, ...]] = ("truth",)

    truth: Path | None = Field(
        None,
        description="JSON of what was planted, for demonstrations: the report says "
        "whether it was found; relative to dataset.toml",
    )


class Run(Section):
    """How the route is run."""

    max_failed: Fraction = Field(
        0.2,
        description="share of failed rows in a stage above which a run exits with 5",
    )
    jobs: Annotated[int, Field(ge=0)] = Field(
        0, description="processes and decoding threads; 0: one per core"
    )
    engine: Literal["local", "processes", "ray"] = Field(
        "local",
        description="where photos are computed: local (models in one process), "
        "processes (a copy of each model in every process), or ray (a cluster)",
    )
    storage: str = Field(
        "",
        description="ray: URL its nodes read photos from, such as s3://bucket/folder; "
        "the work folder, on a disk they share, when empty",
    )


class Dataset(Section):
    """The whole file."""

    dataset: About
    classes: Annotated[list[ClassSpec], Field(min_length=1)]
    backgrounds: Annotated[list[Background], Field(min_length=2)]
    sources: Annotated[list[SerializeAsAny[SourceSpec]], Field(min_length=1)]
    collect: Collect = Collect()
    http: Http = Http()
    fetch: Fetch = Fetch()
    hash: Hash = Hash()
    embed: Embed = Embed()
    dedup: Dedup = Dedup()
    propose: Propose = Propose()
    tasks: Tasks = Tasks()
    labels: Labels = Labels()
    resolve: Resolve = Resolve()
    group: Group = Group()
    evaluate: Evaluate = Evaluate()
    release: Release = Release()
    report: Report = Report()
    run: Run = Run()
    _base: Path = PrivateAttr(Path())

    @property
    def base(self) -> Path:
        """The folder of dataset.toml."""
        return self._base

    @field_validator("sources", mode="before")
    @classmethod
    def _kinds(cls, listed: object) -> object:
        """Tables become the models of their kinds."""
        if not isinstance(listed, list):
            return listed
        return [_of_its_kind(t) if isinstance(t, dict) else t for t in listed]

    @model_validator(mode="after")
    def _no_contradictions(self) -> Self:
        for path, names in (
            ("classes", [c.name for c in self.classes]),
            ("backgrounds", [b.name for b in self.backgrounds]),
        ):
            for place, name in enumerate(names):
                if name in names[:place]:
                    message = f"{path}[{place}].name: {name!r} is already there"
                    raise ValueError(message)
        known = [b.name for b in self.backgrounds]
        for place, name in enumerate(known):
            if name in (CANNOT_TELL, *QUESTIONS):
                message = f"backgrounds[{place}].name: {name!r} is reserved"
                raise ValueError(message)
        for place, spec in enumerate(self.classes):
            for side in ("common", "counter"):
                name = getattr(spec, side)
                if name and name not in known:
                    message = (
                        f"classes[{place}].{side}: {name!r} is not one of "
                        f"backgrounds; {nearest(name, known)}"
                    )
                    raise ValueError(message)
        if self.dedup.review_radius < self.dedup.auto_radius:
            message = (
                f"dedup.review_radius: {self.dedup.review_radius} is below "
                f"auto_radius, {self.dedup.auto_radius}"
            )
            raise ValueError(message)
        return self


def load(path: Path) -> Dataset:
    """Read a dataset.toml; source paths become absolute, from the file's folder.

    Raises:
        ConfigError: not there, not TOML, or not a valid configuration: every fault on a
            line of its own with the key's path, what was found and what is allowed.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path}: cannot be read ({error}); `counterset init DIR` writes one"
        raise ConfigError(message) from error
    except tomllib.TOMLDecodeError as error:
        message = f"{path}: not valid TOML: {error}"
        raise ConfigError(message) from error
    return parse(content, base=path.parent, name=str(path))


def parse(content: dict[str, Any], *, base: Path, name: str) -> Dataset:
    """Validate what a dataset.toml holds; `name` is what errors call the file."""
    content = dict(content)
    lines = _read_sources(content)
    try:
        config = Dataset.model_validate(content)
    except ValidationError as error:
        lines += [_explain(fault) for fault in error.errors(include_url=False)]
    if lines:
        message = f"{name}:\n" + "\n".join(f"  {line}" for line in lines)
        raise ConfigError(message)
    located: dict[str, Any] = {
        name: getattr(config, name).located(base)
        for name in ("dataset", "dedup", "labels", "report")
    }
    located["sources"] = [source.located(base) for source in config.sources]
    config = config.model_copy(update=located)
    config._base = base.resolve()
    return config


def _read_sources(content: dict[str, Any]) -> list[str]:
    """Put each source's own model in place of its table; returns the faults."""
    from curation import sources

    listed = content.get("sources")
    lines: list[str] = []
    if not isinstance(listed, list):
        return lines
    specs: list[Any] = []
    for place, table in enumerate(listed):
        kind = table.get("kind") if isinstance(table, dict) else None
        if not isinstance(kind, str):
            specs.append(table)
            continue
        try:
            specs.append(_of_its_kind(table))
        except ConfigError as error:
            lines.append(f"sources[{place}].kind: {error}")
        except ValidationError as error:
            model = sources.source(kind).Spec
            for fault in error.errors(include_url=False):
                at = {**fault, "loc": ("sources", place, *fault["loc"])}
                lines.append(_explain(cast("ErrorDetails", at), model))
    # faults are told above; what is left must not be told a second time
    content["sources"] = specs if not lines else [SourceSpec(kind="faulty")]
    return lines


def _of_its_kind(table: dict[str, Any]) -> SourceSpec:
    from curation import sources

    return sources.source(str(table.get("kind"))).Spec.model_validate(table)


def _explain(fault: ErrorDetails, source: type[SourceSpec] = SourceSpec) -> str:
    """One line for one fault: path, what was found, what is allowed."""
    path = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"]
    ).lstrip(".")
    found, model = fault["input"], _model(fault["loc"][:-1], source)
    if fault["type"] == "extra_forbidden":
        known = nearest(str(fault["loc"][-1]), model.model_fields)
        return f"{path}: unknown key; {known}"
    names = [part for part in fault["loc"] if isinstance(part, str)]
    field = model.model_fields.get(names[-1]) if names else None
    meaning = (field.description or "") if field else ""
    if fault["type"] == "missing":
        return f"{path}: missing; {meaning}"
    if fault["type"] == "value_error":
        return fault["msg"].removeprefix("Value error, ")
    allowed = fault["msg"][0].lower() + fault["msg"][1:]
    return f"{path}: found {found!r}; {allowed}{f' ({meaning})' if meaning else ''}"


def _model(
    location: tuple[int | str, ...], source: type[SourceSpec]
) -> type[BaseModel]:
    """The model whose field a location leads to."""
    model: type[BaseModel] = Dataset
    for part in location:
        field = None if isinstance(part, int) else model.model_fields.get(part)
        if field is None:
            continue
        inner = next(iter(sections(field.annotation)), None)
        if inner is None:
            break
        model = source if inner is SourceSpec else inner
    return model


def sections(annotation: object) -> Iterator[type[Section]]:
    """The models in an annotation: `About`, `list[ClassSpec]`, `list[A | B]`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from sections(part)
