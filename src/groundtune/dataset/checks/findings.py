"""What a check can find: every code with its severity, what it means and what to do; and findings counted by code.

Codes that OpenAI's data-preparation notebook uses keep their names. Leaves out how they are found.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
#: how many places of a code are kept
KEPT_LINES = 5


@dataclass(frozen=True, slots=True)
class Code:
    """One defect.

    Attributes:
        severity: error: training on it fails or teaches what nobody wants; warning: likely so; note: worth knowing.
        means: what it is and what it does to a model.
        next_step: what to do.
    """

    severity: Severity
    means: str
    next_step: str


_TABLE: dict[str, tuple[Severity, str, str]] = {
    # the file
    "not_json": ("error", "a line is not JSON", "write one JSON object a line, without line breaks inside"),
    "wrong_encoding": ("error", "bytes that are not UTF-8", "save the file as UTF-8"),
    "row_too_long": ("error", "a row over 64 MiB", "split it; a line break is missing, or it is no dataset"),
    "damaged_file": ("error", "the file is cut off or damaged; what stands behind is not read", "copy or pack it again"),
    "wrong_columns": ("error", "a row of a table with more or fewer cells than the header", "quote cells that hold the separator"),
    "empty_row": ("warning", "a blank line between rows", "take it out: OpenAI refuses the file"),
    "unknown_format": ("error", "a row that no format explains", "say which columns to read: --map question=COLUMN,answer=COLUMN"),
    "unreadable_row": ("error", "a row that its format cannot read", "see the reason at the line"),
    "mixed_formats": ("error", "rows of another format in the same file", "convert the parts one by one: groundtune dataset convert"),
    # OpenAI's notebook
    "data_type": ("error", "a part of the wrong type, such as a text where an object belongs", "write it as the format says"),
    "missing_messages_list": ("error", "no list of messages", "give each row messages, or name the format with --format"),
    "message_missing_key": ("error", "a message without role or content", "add it; only an assistant that calls tools may lack content"),
    "message_unrecognized_key": ("error", "a key in a message that no one reads: what it says would be lost", "take it out, or move its text into content"),
    "unrecognized_role": ("error", "a role that chat templates do not know", "use system, developer, user, assistant or tool"),
    "missing_content": ("error", "an empty message, or content that is no text", "fill it in or take the row out"),
    "example_missing_assistant_message": ("error", "a conversation without any assistant turn: nothing to learn", "add the answer or take the row out"),
    "missing_system_message": ("note", "conversations without a system message", "fine if you also ask without one later"),
    "missing_user_message": ("warning", "conversations without a user message", "check that the roles are right"),
    "too_few_examples": ("warning", "fewer than 10 examples: OpenAI refuses that, and a model learns them by heart", "add examples; 50 to 100 are a start"),
    "tool_call_without_content": ("note", "assistant turns that only call tools: right, though OpenAI's notebook reports them as message_missing_key", "nothing"),
    # messages
    "content_not_text": ("error", "images, audio or refusals in a message", "only text can be trained on here: take the row out"),
    "system_not_first": ("warning", "a system message after other turns: many templates refuse or move it", "move it to the front"),
    "assistant_first": ("warning", "the assistant speaks first", "check that the roles are not swapped"),
    "two_users_in_a_row": ("warning", "two user turns in a row: many templates refuse that", "join them, or add the answer between"),
    "two_assistants_in_a_row": ("warning", "two assistant turns in a row", "join them"),
    "tool_answer_without_call": ("error", "a tool's answer that no call asked for", "add the assistant's call before it"),
    "call_without_tool_answer": ("error", "a tool call that is not answered before the talk goes on", "add the tool's answer"),
    "call_by_other_role": ("error", "a tool called by someone who is not the assistant", "move the call to an assistant turn"),
    "arguments_not_json": ("error", "tool arguments that are not a JSON object: the model learns to write broken calls", "mend them"),
    "unknown_tool": ("error", "a call of a tool that is not among the row's tools", "add the tool's description, or correct the name"),
    "tools_not_described": ("warning", "tool calls in a row that describes no tools", "add 'tools', or the model calls what it was never offered"),
    "tools_not_a_list": ("error", "'tools' is no list of functions with names", 'write [{"type": "function", "function": {"name": ...}}]'),
    "last_not_assistant": ("error", "the last turn is not the assistant's: the final answer is missing", "add it or take the row out"),
    "empty_answer": ("error", "an assistant turn without text: the model learns to say nothing", "fill it in or take the row out"),
    "weight_not_0_or_1": ("error", "a weight other than 0 or 1", "use 0 for context, 1 for what is to be learnt"),
    "all_weights_zero": ("error", "every assistant turn has weight 0: the loss mask is empty", "give the last answer weight 1"),
    "label_not_true_or_false": ("error", "a label that is neither true nor false", "use true for good answers, false for bad ones"),
    "missing_side": ("error", "a preference with one side only", "add the other answer, or use labels (kto)"),
    "equal_sides": ("error", "a preference whose two answers are the same: nothing to prefer", "take the row out"),
    "no_task_marker": ("error", "a line without exactly one marker such as <to-fr>", "write `text <to-fr> texte`"),
    "several_values": ("error", "a column with several values for one part", "say which: summaries[0], or summaries[*] for one item each"),
    # texts
    "control_token_in_text": ("warning", "one of the model's own control tokens in a text: groundtune spells it out in letters, other tools end a turn there", "take it out, unless the text is about it"),
    "chat_marker_in_text": ("warning", "markers of some chat template in a text, such as <|im_start|> or [INST]: rendered twice?", "give the turns as messages, without markers"),
    "unknown_special_token": ("note", "a marker that is no single token for this model: it is learnt in pieces", "fine; do not add it as a token unless embeddings are trained too"),
    "template_placeholder": ("warning", "a placeholder that was never filled in, such as {{name}}", "fill it in: the model learns to say it"),
    "mojibake": ("warning", "text decoded wrongly once, such as Ã¼ for ü", "decode the source as UTF-8 again"),
    "replacement_character": ("warning", "the character U+FFFD: something was lost when the text was decoded", "decode the source again"),
    "half_character": ("error", "half of a surrogate pair, which no tokenizer can read", "take it out"),
    "control_character": ("warning", "control characters such as NUL in a text", "take them out"),
    # tokens
    "too_long": ("error", "more tokens than the model's context", "shorten it, or choose --truncation drop or window, or a model with a longer context"),
    "answer_too_long": ("error", "an answer that is by itself longer than the model's context", "shorten it"),
    "answer_cut": ("warning", "a row trained in overlapping windows: the later ones do not see its beginning", "shorten the row where the beginning matters"),
    "empty_loss_mask": ("error", "no token of the row counts in the loss", "check the roles, the weights and the truncation"),
    "no_end_of_turn": ("error", "the last trained token does not end the turn: the model would never learn to stop", "mend the chat template"),
    "double_bos": ("error", "two begin-of-text tokens at the start", "take the token out of the text"),
    "template_refuses": ("error", "the model's chat template does not take these messages", "change the roles as its message says, or choose another model"),
    "tools_not_rendered": ("warning", "this model's chat template leaves tools or tool calls out: they would not be learnt", "choose a model whose template knows tools"),
    # the whole file
    "duplicate": ("warning", "rows that repeat an earlier one: the model sees them more often", "take them out, unless on purpose"),
    "near_duplicate": ("note", "rows that nearly repeat an earlier one", "look whether they say anything new"),
    "contradiction": ("warning", "the same prompt with different answers: the model cannot learn both", "keep one, unless variety is wanted"),
    "duplicate_id": ("warning", "an id that stands in several rows", "number the rows anew"),
    "skewed_answers": ("warning", "one answer in more than half of the rows: always giving it would be right that often", "balance the rows, or measure against it"),
    "no_leading_space": ("note", "completions that begin without a space: GPT-2's tokens for words begin with one", "put a space first if the model is a base model"),
    "no_prompt_suffix": ("note", "prompts without a common ending: a base model cannot tell where the answer starts", "end every prompt alike, such as with ' ->'"),
    "no_completion_suffix": ("note", "completions without a common ending: a base model cannot tell where to stop", "end every completion alike, such as with a line break"),
    # other splits
    "leak_exact": ("error", "a held-out prompt that is also trained on: its score says nothing", "take it out of one of the two"),
    "leak_near": ("warning", "a held-out prompt that is nearly a trained one", "look at both; take one out if they ask the same"),
    "leak_reworded": ("warning", "a held-out question that is trained on in other words, with the same answer", "look at both; take one out, or call the split held_out_phrasings"),
    "leak_fact": ("error", "a fact that is held out and also trained on", "split by fact: groundtune dataset split"),
    "not_searched": ("note", "held-out questions in other words were looked for in a part only", "see the reason"),
}  # fmt: skip
CODES = {name: Code(*entry) for name, entry in _TABLE.items()}


@dataclass(slots=True)
class Finding:
    """One code as found in a file.

    Attributes:
        code: its name in ``CODES``.
        severity: of this run; a truncation policy may turn an error into a warning.
        count: how many rows (pairs for duplicates).
        places: the first ``file:line``, with what stands there.
    """

    code: str
    severity: Severity
    count: int = 0
    places: list[str] = field(default_factory=list)

    @property
    def means(self) -> str:
        """What it is."""
        return CODES[self.code].means

    @property
    def next_step(self) -> str:
        """What to do."""
        return CODES[self.code].next_step

    def to_json(self) -> dict[str, Any]:
        """All of it, for ``--json``."""
        return {**asdict(self), "means": self.means, "next": self.next_step}


class Findings:
    """Counts what is found, by code.

    Args:
        name: the file's name as the user typed it, for ``file:line``.
        severities: code -> severity that departs from ``CODES``.
    """

    def __init__(self, name: str, severities: dict[str, Severity] | None = None) -> None:
        self._name = name
        self._severities = severities or {}
        self._found: dict[str, Finding] = {}

    def add(self, code: str, line: int | None, detail: str = "", *, count: int = 1) -> None:
        """One more row with this code.

        Args:
            line: None where it is said of the whole file.
            count: how many rows it stands for; 0 adds a place only.
        """
        finding = self._found.get(code)
        if finding is None:
            severity = self._severities.get(code, CODES[code].severity)
            finding = self._found[code] = Finding(code, severity)
        finding.count += count
        if len(finding.places) < KEPT_LINES and (line is not None or detail or not finding.places):
            place = self._name if line is None else f"{self._name}:{line}"
            finding.places.append(f"{place}: {detail}" if detail else place)

    def severity(self, code: str) -> Severity:
        """The severity of a code in this run."""
        return self._severities.get(code, CODES[code].severity)

    def sorted(self) -> list[Finding]:
        """Errors first, then warnings, then notes; the most frequent first."""
        order = {"error": 0, "warning": 1, "note": 2}
        return sorted(self._found.values(), key=lambda f: (order[f.severity], -f.count, f.code))


@dataclass(slots=True)
class CheckReport:
    """What a check found.

    Attributes:
        path, format: the file and how it was read.
        rows, items: rows of the file without blank lines; items in them.
        faulty_rows: rows with at least one error of their own.
        findings: errors first.
        tokens, trained_tokens, longest_tokens: of all good rows as the model's template renders them; 0 without a tokenizer.
        context_tokens: the model's context.
        over_context: rows longer than that.
        windows: rows that ``--truncation window`` makes of those.
        splits: rows by split.
        quarantined: rows written to the quarantine file.
        bytes, seconds: the file's size; the time taken.
    """

    path: str
    format: str
    rows: int = 0
    items: int = 0
    faulty_rows: int = 0
    findings: list[Finding] = field(default_factory=list)
    tokens: int = 0
    trained_tokens: int = 0
    longest_tokens: int = 0
    context_tokens: int = 0
    over_context: int = 0
    windows: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    quarantined: int = 0
    bytes: int = 0
    seconds: float = 0.0

    @property
    def errors(self) -> int:
        """Codes that are errors."""
        return sum(f.severity == "error" for f in self.findings)

    def to_json(self) -> dict[str, Any]:
        """All of it, for ``--json``."""
        own = {name: getattr(self, name) for name in self.__slots__ if name != "findings"}
        return {**own, "seconds": round(self.seconds, 3), "findings": [f.to_json() for f in self.findings]}
