"""``groundtune.yaml``: every setting with its default, its unit and its reason. An empty file works."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from groundtune.errors import ConfigError, InputError, did_you_mean

FILE = "groundtune.yaml"
SYSTEMS = ("baseline", "most_frequent", "prompt", "few_shot", "rag", "tuned", "tuned+rag", "scratch")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class IngestConfig(_Part):
    """How sources are read and cleaned."""

    passwords: tuple[str, ...] = Field(
        (), description="tried on encrypted files; ${NAME} takes an environment variable"
    )
    ocr: Literal["auto", "off"] = Field(
        "auto", description="recognise the text of scanned pages (needs groundtune[ocr]), or leave them out and say so"
    )
    seconds_per_file: int = Field(50, ge=1, description="longest time for one file; more for files over 3 MB")
    megabytes_per_file: int = Field(1500, ge=200, description="most memory while one file is read")
    boilerplate: bool = Field(True, description="take out lines that repeat over the pages of one document")
    duplicates: Literal["drop", "drop_near", "keep"] = Field(
        "drop", description="of documents with the same text only the first comes in; drop_near: nearly the same, too"
    )
    redact: tuple[Literal["email", "phone", "iban", "card", "name"], ...] = Field(
        (), description="personal data to replace by its kind, as in [email]"
    )
    names: str | None = Field(None, description="file with one name a line, for redact: [name]")


class CrawlConfig(_Part):
    """How web addresses are fetched."""

    depth: int = Field(3, ge=0, description="links followed from an address; 0 fetches the address alone")
    pages: int = Field(500, ge=1, description="most pages fetched for one address")
    same_site: bool = Field(True, description="stay on the address's host")
    delay_seconds: float = Field(0.5, ge=0, description="pause between two requests; robots.txt may ask for more")
    page_megabytes: int = Field(20, ge=1, description="larger pages are not taken")
    page_seconds: int = Field(30, ge=1, description="slower pages are not taken")
    allow_private: bool = Field(False, description="also fetch from private and loopback addresses")


class IndexConfig(_Part):
    """How documents are cut, embedded and stored."""

    chunker: str = Field(
        "sentence",
        description="how documents are cut: sentence (runs of whole sentences), fixed, structure, semantic (embeds every sentence once more)",
    )
    chunk_tokens: int = Field(200, ge=16, le=2000, description="longest chunk, in word pieces of the embedder")
    overlap_tokens: int = Field(
        25, ge=0, description="tokens that neighbouring chunks of one section share (sentence, fixed)"
    )
    embedder: str = Field(
        "minilm",
        description="what turns text into vectors: minilm, minilm_int8 (twice the speed, near vectors), tuned (by `groundtune tune --method embedder`), a sentence-transformers folder or name, openai:MODEL[@URL]",
    )
    sentences: Literal["embedded", "pooled"] = Field(
        "embedded",
        description="sentences' vectors: embedded on their own and behind their headings, or pooled from their chunk's tokens (a third of the work; the best passage is first a little less often)",
    )
    store: str = Field("lance", description="where vectors and full text are kept: lance, pgvector")
    database: str | None = Field(
        None,
        description="address for pgvector, as in postgresql://user:${PASSWORD}@host/name; ${NAME} is taken from the environment",
    )
    approximate_from: int = Field(
        20_000,
        ge=0,
        description="vectors of one kind from which search is approximate (at least 99 of 100 nearest are found); 0: never",
    )


class RetrievalConfig(_Part):
    """How chunks are found and put before the model."""

    top_k: int = Field(5, ge=1, le=50, description="chunks retrieved for an answer")
    candidates: int = Field(40, ge=1, description="candidates of each kind of search before fusion")
    mode: Literal["hybrid", "vector", "text"] = Field(
        "hybrid", description="vectors, full text, or both fused by reciprocal rank"
    )
    where: str | None = Field(
        None,
        description="condition on the chunks that are looked at, as in media_type = 'pdf' and page <= 3; fields: document, page, row, heading, media_type, language",
    )
    context_tokens: int = Field(
        800, ge=16, description="most passage tokens put into the prompt; never over half of the model's context"
    )
    context_sentences: int | None = Field(
        None, ge=1, description="most sentences put into the prompt, the best first; default 1 for pebble, else 12"
    )
    queries: Literal["none", "rewrite", "multi_query", "hyde", "step_back"] = Field(
        "none",
        description="further texts to search with, written by the model: a search query, other wordings, a passage that would answer, a more general question; costs one generation a question",
    )


class AnswerConfig(_Part):
    """How answers are generated."""

    max_tokens: int = Field(24, ge=1, description="most tokens of an answer")
    shots: int = Field(
        3,
        ge=0,
        description="worked examples in the prompt of few_shot, few_shot_nearest and demonstrate_search_predict",
    )
    reasoning_tokens: int = Field(
        160, ge=8, description="most tokens of a chain of thought, and of a step of react, the answer included"
    )
    samples: int = Field(
        5, ge=1, description="chains of thought that self_consistency draws; more cost more, gain less"
    )
    temperature: float = Field(
        0.7, gt=0, le=2, description="of self_consistency's samples; 0.7 as in its paper: lower, and they are all alike"
    )
    steps: int = Field(6, ge=1, le=50, description="most steps of react before it must answer")
    hops: int = Field(2, ge=1, le=5, description="searches of demonstrate_search_predict, the question's own included")


class TuneConfig(_Part):
    """How a model is fine-tuned, on the training questions or on a dataset file."""

    method: str = Field("full", description="full, lora, qlora, prefix_tuning ...: `groundtune list methods`")
    options: dict[str, Any] = Field(
        {}, description="of the method, such as {rank: 8}; `groundtune tune --help-method NAME`"
    )
    model: str | None = Field(
        None,
        description="what is trained, where it is not `model`: minilm, the bundled encoder; for seq2seq an encoder-decoder, warm:minilm or new:LAYERSxWIDTH",
    )
    data: str | None = Field(None, description="dataset file in any format; default: the questions of the split train")
    fields: dict[str, str] = Field(
        {},
        description="columns of dataset files with names of their own, as in {question: abstract, answer: summary} or, of a classifier, {text: query, label: intent}",
    )
    validation: str | None = Field(
        None,
        description="dataset file to validate on; default: the questions of the split validation, if there are any",
    )
    validation_share: float = Field(
        0.0, ge=0, lt=1, description="share of the training rows held back to validate on, where there are no others"
    )
    test: str | None = Field(
        None, description="dataset file that the finished model answers once, for the figures (classifier, seq2seq)"
    )
    epochs: int = Field(10, ge=1, description="passes over the training rows")
    learning_rate: float | None = Field(None, gt=0, description="peak; default: the method's own, larger for pebble")
    batch_tokens: int = Field(1024, ge=32, description="token budget of a micro-batch")
    accumulation: int = Field(1, ge=1, description="micro-batches an optimizer step")
    max_tokens: int | None = Field(None, ge=8, description="longest row; default: the model's context")
    truncation: Literal["error", "drop", "window"] = Field(
        "error", description="rows over max_tokens: refused, left out and counted, or cut into overlapping windows"
    )
    packing: bool = Field(
        False,
        description="rows one behind the other without padding, checked to change no logit; else sorted by length",
    )
    validate_every_steps: int = Field(0, ge=0, description="optimizer steps between validations; 0: after each epoch")
    patience: int = Field(0, ge=0, description="validations without a better one before the run stops; 0: never")
    gradient_checkpointing: bool = Field(False, description="less memory for about a third more time")
    guards: bool = Field(True, description="stop a run that would end in weights that are not what was meant")
    report_to: tuple[Literal["wandb", "tensorboard", "mlflow"], ...] = Field(
        (), description="trackers to tell, in .groundtune/tracking; wandb stays offline unless WANDB_API_KEY is set"
    )
    save_every_steps: int = Field(50, ge=1, description="optimizer steps between checkpoints a killed run resumes from")


class ScratchConfig(_Part):
    """The model trained from zero on the documents and training questions, in the same minutes as ``tuned``."""

    layers: int = Field(4, ge=1, description="transformer blocks")
    width: int = Field(192, ge=32, description="hidden size; heads are 48 or 64 wide")
    vocabulary: int = Field(4096, ge=300, le=65535, description="tokenizer entries, learnt from the documents")
    seconds: float | None = Field(None, gt=0, description="training time; default: what `tuned` took")


class CompareConfig(_Part):
    """What is compared, on how many questions."""

    systems: tuple[str, ...] = Field(SYSTEMS, description="the systems, in the report's order")
    questions_per_split: int | None = Field(
        None, ge=1, description="most questions a split, whole facts at a time; default all"
    )
    latency_questions: int = Field(20, ge=1, description="questions asked one by one to measure latency")
    resamples: int = Field(5000, ge=100, description="bootstrap resamples")
    adaptability_facts: int = Field(
        10, ge=0, description="facts that are changed to see how soon a system is right again"
    )
    usd_per_hour: float = Field(0.10, ge=0, description="price of this machine, for cost per 1,000 questions")


class AliasConfig(_Part):
    """What answers to a name of the API."""

    model: str = Field(
        description="a System of the project, the project's model, pebble, an embedder, or a name at base_url"
    )
    base_url: str | None = Field(None, description="another OpenAI-compatible endpoint that is asked instead, with /v1")
    api_key_env: str | None = Field(None, description="environment variable that holds that endpoint's key")
    usd_per_million_prompt_tokens: float = Field(0.0, ge=0, description="price, for the cost of each key")
    usd_per_million_completion_tokens: float = Field(0.0, ge=0, description="price, for the cost of each key")


class ServeConfig(_Part):
    """The OpenAI API of `groundtune serve`."""

    host: str = Field("127.0.0.1", description="address to listen on; any other than loopback needs keys")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0: any free one")
    database: str | None = Field(
        None, description="postgresql+psycopg://USER@HOST/NAME; default: SQLite in .groundtune/serving"
    )
    organization: str = Field("groundtune", pattern=r"^[A-Za-z0-9_-]+$", description="stands in names of tuned models")
    aliases: dict[str, str | AliasConfig] = Field(
        {},
        description="names of the API -> what answers, as in {gpt-4o-mini-2024-07-18: rag}; * stands for anything; before the built-in ones",
    )
    openai_names: bool = Field(
        True,
        description="names of OpenAI's models stand for the project's own: gpt-* for `model`, text-embedding-* for the embedder",
    )
    jobs: int = Field(1, ge=1, description="fine-tuning jobs that train at the same time")
    job_checkpoint_seconds: float = Field(
        20, ge=0, description="seconds of training that a killed job does again at most"
    )
    result_files: Literal["csv", "base64"] = Field(
        "csv", description="how files of training results are written; OpenAI's were Base64 at a time"
    )
    concurrency: int = Field(64, ge=1, description="requests that generate at the same time; more wait")
    waiting: int = Field(256, ge=0, description="requests that wait; more are refused with 429")
    loaded_models: int = Field(3, ge=1, description="models held in memory; adapters of one base count once")
    body_megabytes: int = Field(16, ge=1, description="largest request that is no upload")
    upload_megabytes: int = Field(520, ge=1, description="largest upload, or part of one")
    backend: Literal["local", "vllm"] = Field("local", description="what generates with the weights of models")
    vllm_arguments: tuple[str, ...] = Field(
        (), description="further arguments of `vllm serve`, as in [--gpu-memory-utilization, '0.4']"
    )
    log_prompts: bool = Field(False, description="write prompts and answers into the log, too")


class Config(_Part):
    """A project. Paths are relative to the folder of ``groundtune.yaml``."""

    documents: tuple[str, ...] = Field(("documents",), description="files, folders and web addresses to ingest")
    questions: str = Field(
        "questions.jsonl", description="questions with reference answers, to train on and to be judged by"
    )
    model: str = Field(
        "pebble", description="pebble (bundled), a folder, or a Hugging Face name such as Qwen/Qwen3-0.6B"
    )
    seed: int = Field(0, ge=0, description="of everything random")
    ingest: IngestConfig = IngestConfig()
    crawl: CrawlConfig = CrawlConfig()
    index: IndexConfig = IndexConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    answer: AnswerConfig = AnswerConfig()
    tune: TuneConfig = TuneConfig()
    scratch: ScratchConfig = ScratchConfig()
    compare: CompareConfig = CompareConfig()
    serve: ServeConfig = ServeConfig()


def load_config(folder: Path, path: Path | None = None) -> Config:
    """The config of a project folder; defaults where there is no file.

    Args:
        folder: the project folder.
        path: another file than ``groundtune.yaml`` in it.

    Raises:
        InputError: the file cannot be read. ConfigError: every wrong key and value, together.
    """
    file = path or folder / FILE
    if not file.exists():
        if path is not None:
            raise InputError(f"no config file {path}", next_step="groundtune init writes one")
        return Config()
    try:
        values: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 (byte {error.start})", next_step="save it as UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}" if mark else str(file)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"{place}: not YAML: {problem}", expected="`key: value` lines, indented with spaces") from None
    return parse_config(values or {}, str(file))


def parse_config(values: Any, where: str) -> Config:
    """Check values against the settings.

    Raises:
        ConfigError: lists every fault with its key; an unknown key comes with the keys there are.
    """
    if not isinstance(values, dict):
        raise ConfigError(
            f"{where}: {type(values).__name__} at the top", expected="`key: value` lines, or an empty file"
        )
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            key = ".".join(str(part) for part in fault["loc"])
            if fault["type"] == "extra_forbidden":
                faults.append(f"{key}: unknown setting{_nearest(key)}")
            else:
                faults.append(f"{key}: {fault['msg']} (found {fault['input']!r})")
        raise ConfigError(
            f"{where}: " + "\n  ".join(faults),
            next_step="groundtune init, in an empty folder, writes a file that explains every setting",
        ) from None


def _nearest(key: str) -> str:
    near = did_you_mean(key, [name for name, _ in settings()], cutoff=0.5)
    return f"; {near}" if near else ""


def settings(model: type[BaseModel] = Config, prefix: str = "") -> list[tuple[str, Any]]:
    """Every setting's dotted name with its field, in order: the source of ``init``'s comments and of the documentation."""
    out: list[tuple[str, Any]] = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            out.extend(settings(field.annotation, f"{prefix}{name}."))
        else:
            out.append((f"{prefix}{name}", field))
    return out
