"""``groundtune.yaml``: every setting with its default, its unit and its reason. An empty file works."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

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
        description="vectors of one kind from which search is approximate (at least 99 of 100 nearest are found); lance searches what fits into 256 MB exactly all the same; 0: never",
    )


class RetrievalConfig(_Part):
    """How chunks are found and put before the model."""

    top_k: int = Field(5, ge=1, le=50, description="chunks retrieved for an answer")
    candidates: int = Field(40, ge=1, description="candidates of each kind of search before fusion")
    mode: Literal["hybrid", "vector", "text"] = Field(
        "hybrid", description="vectors, full text, or both fused by reciprocal rank"
    )
    text_weight: float = Field(
        0.15,
        ge=0,
        le=5,
        description="of shared words (BM25, the best chunk's as 1) beside similarity in a chunk's score, for hybrid",
    )
    text_weight_foreign: float = Field(
        0.6,
        ge=0,
        le=5,
        description="the same for questions in a language that the embedder does not know (minilm's is English); 0.6 is best on the German example's training questions",
    )
    chunk_weight: float = Field(
        0.25,
        ge=0,
        le=1,
        description="of the whole chunk's similarity; the rest is its best sentence's. 1 for topics rather than facts",
    )
    feedback: int = Field(
        0,
        ge=0,
        le=50,
        description="best chunks that the question's vector is moved towards for a second search; 0: none",
    )
    smoothing: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of a chunk's score taken from the candidates most like it, in vector and words; 0.7 where many chunks answer",
    )
    reranker: str | None = Field(
        None,
        description="second look at the best candidates: cross_encoder (bundled), language_model, or a cross-encoder's folder or name",
    )
    rerank_candidates: int = Field(20, ge=2, le=500, description="candidates that the reranker reads")
    rerank_weight: float = Field(
        0.2, ge=0, le=10, description="what the reranker's best candidate gains beside its own score"
    )
    diversity: float = Field(
        0.0, ge=0, le=1, description="likeness to better chunks that costs a chunk its place (MMR); 0: relevance alone"
    )
    neighbours: int = Field(0, ge=0, le=10, description="chunks before and after each hit that are handed on with it")
    parents: bool = Field(False, description="hand on the section around each hit: four chunks on each side at most")
    refuse_below: float | None = Field(
        None,
        ge=0,
        le=1,
        description="confidence below which a question is refused; default: what `groundtune calibrate` chose, else none",
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
    unsupported: Literal["keep", "mark", "drop"] = Field(
        "mark",
        description="sentences of an answer that nothing retrieved supports: shown as they are, shown with [unsupported], or left out; where none is left, the answer is that the passages do not say",
    )
    support: float = Field(
        0.7, ge=0, le=1, description="support score from which a passage is cited; higher cites less, and surer"
    )
    hops: int = Field(2, ge=1, le=5, description="searches of demonstrate_search_predict, the question's own included")


Refusal = Literal["refuse", "flag", False]
Removal = Literal["drop", "flag", False]
Redaction = Literal["redact", "flag", False]
Reply = Literal["refuse", "redact", "flag", False]


class GuardConfig(_Part):
    """What is done about a finding in questions, in retrieved text and in answers; false: the rule does not look."""

    policy: str | None = Field(None, description="file with the settings of this section, in the place of those here")
    input_injection: Refusal = Field(
        False, description="questions that try to override instructions; off: who asks may steer"
    )
    input_personal_data: Reply = Field(False, description="e-mail, phone, account and card numbers in questions")
    input_off_topic: Refusal = Field(
        False, description="questions far from every document (similarity of the best hit)"
    )
    input_toxic: Refusal = Field(False, description="insults, threats, hate in questions")
    retrieved_instructions: Removal = Field(
        "drop", description="sentences of documents that order whoever answers; on: false alarms are rare, harm is not"
    )
    retrieved_unreadable: Removal = Field(
        "drop", description="sentences in code letters, or in a language that hardly any document has"
    )
    retrieved_secrets: Redaction = Field("redact", description="keys, tokens and passwords in documents")
    retrieved_personal_data: Redaction = Field(False, description="personal data in documents")
    output_followed: Refusal = Field(
        "refuse", description="answers that rest only on a sentence that reads like an order, though it was let through"
    )
    output_links: Reply = Field("redact", description="web and e-mail addresses that no clean passage holds")
    output_secrets: Reply = Field("redact", description="keys, tokens and passwords in answers")
    output_system_prompt: Refusal = Field("refuse", description="answers that repeat the instructions of the prompt")
    output_ungrounded: Refusal = Field(
        False, description="answers whose words no passage holds; off: paraphrases suffer"
    )
    output_personal_data: Reply = Field(False, description="personal data in answers")
    output_toxic: Refusal = Field(False, description="insults, threats, hate in answers")
    thresholds: dict[str, float] = Field(
        {}, description="rule -> score from 0 to 1 from which it speaks, in the place of the calibrated one"
    )
    classifiers: tuple[str, ...] = Field(
        (), description="further rules: MODULE:FUNCTION or entry points of groundtune.guards; see docs/guardrails.md"
    )
    log_content: bool = Field(False, description="write what was found into the log, not only which rule spoke")

    @model_validator(mode="after")
    def _known(self) -> GuardConfig:
        unknown = sorted(set(self.thresholds) - {*GUARD_RULES, *self.classifiers})
        if unknown:
            raise ValueError(f"no rule {', '.join(unknown)}; rules are {', '.join(GUARD_RULES)}")
        return self


#: the rules, in the order in which they look
GUARD_RULES = tuple(
    name for name in GuardConfig.model_fields if name.partition("_")[0] in ("input", "retrieved", "output")
)


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


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Sections and their settings as settings with their sections' names and a dot before them."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        out |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return out


class OptimizeConfig(_Part):
    """How `groundtune optimize` looks for better settings than these."""

    minutes: float = Field(10, gt=0, description="longest time for the whole search, indexes and final report included")
    space: dict[str, tuple[Any, ...]] = Field(
        {},
        description="settings and the values to try, as in {retrieval.top_k: [3, 5, 8]}; default: those that `groundtune optimize --show-space` prints",
    )
    arms: int = Field(24, ge=2, description="most combinations of settings that each of the two stages begins with")
    keep: int = Field(4, ge=2, description="combinations that leave each stage, the current settings among them")
    eta: int = Field(2, ge=2, description="each round asks so many times more questions and drops all but 1 in so many")
    validation_share: float = Field(
        0.33, gt=0, lt=1, description="share of the training facts kept back to choose among those that are left"
    )
    retrieval_weights: dict[str, float] = Field(
        {"recall_at_5": 0.5, "mrr": 0.5}, description="metrics of the first stage, which asks no model"
    )
    answer_weights: dict[str, float] = Field(
        {"token_f1": 1.0, "supported": 0.25, "abstention_accuracy": 1.0},
        description="metrics of an answer; abstention_accuracy: what a question without an answer counts beside one with",
    )

    @field_validator("space", mode="before")
    @classmethod
    def _flat(cls, values: Any) -> Any:
        return flat(values) if isinstance(values, dict) else values


class ClaimsConfig(_Part):
    """The claims lesson of `groundtune claims`."""

    file: str = Field("claims.jsonl", description="claims with their labels True, False or NEE")
    nearest: int = Field(3, ge=1, le=50, description="passages shown with a claim; the published lesson's three")
    threshold: float | None = Field(
        None,
        ge=0,
        le=2,
        description="passages at this cosine distance or farther are left out; default: chosen on the claims of the split train",
    )
    max_tokens: int = Field(8, ge=1, description="most tokens of a verdict")


class JudgeConfig(_Part):
    """The language model that judges answers, once `groundtune judge` found that it agrees with people."""

    model: str | None = Field(None, description="as `model`: openai:MODEL@URL, a folder, pebble; default: no judge")
    rubric: str = Field("correct", description="correct, quality, pair, or a file of your own")
    least_kappa: float = Field(
        0.4,
        ge=-1,
        le=1,
        description="the judge is believed where the lower end of its kappa's 95 % interval reaches this; 0.4: moderate agreement (Landis and Koch 1977)",
    )
    least_labels: int = Field(30, ge=2, description="fewest human labels to measure agreement on")
    max_tokens: int = Field(200, ge=1, description="most tokens of a judge's reply")


class GateConfig(_Part):
    """What `groundtune gate` holds a change against."""

    baseline: str = Field("groundtune-baseline.json", description="the stored scores, to be committed")
    metrics: tuple[str, ...] = Field(
        ("token_f1", "recall_at_5", "abstention_accuracy"), description="scores that must not drop"
    )
    alpha: float = Field(0.05, gt=0, lt=1, description="a drop counts where its p-value, corrected by Holm, lies below")


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
    guards: GuardConfig = GuardConfig()
    tune: TuneConfig = TuneConfig()
    scratch: ScratchConfig = ScratchConfig()
    compare: CompareConfig = CompareConfig()
    optimize: OptimizeConfig = OptimizeConfig()
    claims: ClaimsConfig = ClaimsConfig()
    judge: JudgeConfig = JudgeConfig()
    gate: GateConfig = GateConfig()
    serve: ServeConfig = ServeConfig()

    @field_validator("guards", mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        """``guards: false`` switches every rule off; ``guards: policy.yaml`` names a file."""
        if isinstance(value, bool):
            return {} if value else dict.fromkeys(GUARD_RULES, False)
        return {"policy": value} if isinstance(value, str) else value


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
