"""The tuned embedder on an invented domain with a tiny random BERT: it learns, resumes, and is what the index then uses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groundtune.config import Config, IndexConfig, RetrievalConfig, TuneConfig
from groundtune.dataset.examples import write_examples
from groundtune.dataset.invented import invented_items
from groundtune.errors import ConfigError, InputError, MissingArtifactError, UnknownNameError
from groundtune.ingest.ingest import ingest
from groundtune.methods import _passages, embedder
from groundtune.methods._gain import Gain, gain
from groundtune.methods._passages import Corpus
from groundtune.methods._recall import Judge, better
from groundtune.methods._setup import Setup
from groundtune.methods._systems import build_system
from groundtune.methods._tuning import tune
from groundtune.metrics import mrr, recall_at_1, recall_at_5
from groundtune.nn.encoders import encode, open_encoder
from groundtune.records import Chunk, Completion, Example, Passage, Source
from groundtune.retrieval.bm25 import K1, B, Bm25
from groundtune.retrieval.index import build_index
from groundtune.system import as_messages
from groundtune.workspace import Workspace
from tiny_bert import write_tiny_bert

INDEX = IndexConfig(chunk_tokens=120, overlap_tokens=0)
OPTIONS = {"model": "bert", "batch_pairs": 8, "unlabelled_pairs": 24, "validation_share": 0.2}


def items() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Thirty short passages of one paragraph, each with its answerable questions."""
    found = 0
    for item in invented_items(11):
        asked = [(q, a) for q, a in item.questions if a]
        if len(asked) > 1 and "\n" not in item.passage and len(item.passage.split()) < 50:
            found += 1
            yield item.passage, asked
        if found == 30:
            return


def write_invented(folder: Path) -> Path:
    """Documents, questions (every third document held out) and an untrained encoder."""
    (folder / "documents").mkdir(parents=True)
    examples, texts = [], []
    for n, (passage, asked) in enumerate(items()):
        name = f"note-{n:02}.txt"
        (folder / "documents" / name).write_text(passage + "\n", encoding="utf-8")
        texts += [passage, *(q for q, _ in asked)]
        split = "held_out_facts" if n % 3 == 0 else "train"
        for m, (question, answer) in enumerate(asked):
            where = (Passage(f"documents/{name}", passage),)
            examples.append(Example(f"{n}-{m}", f"{n}-{m}", split, question, (answer,), where))
    write_examples(folder / "questions.jsonl", examples)
    write_tiny_bert(folder / "bert", texts)
    return folder


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_invented(tmp_path_factory.mktemp("domain") / "project")
    ingest(Workspace(folder), ["documents"])
    names = {d["path"] for d in (Workspace(folder).manifest("documents") or {})["figures"]["documents"]}
    rows = (folder / "questions.jsonl").read_text(encoding="utf-8")
    if "note-00.txt" in names:  # as ingest names them: relative to the folder it was given
        (folder / "questions.jsonl").write_text(rows.replace("documents/note", "note"), encoding="utf-8")
    return folder


def setup_in(folder: Path, *, epochs: int = 8, rate: float = 3e-3, embedder: str = "tuned", **options: Any) -> Setup:
    settings = TuneConfig(
        method="embedder", epochs=epochs, learning_rate=rate, options={**OPTIONS, **options}, save_every_steps=4
    )
    index = INDEX.model_copy(update={"embedder": embedder})
    return Setup(Workspace(folder), Config(model="echo:Friday", tune=settings, index=index))


@pytest.fixture(scope="module")
def tuned(ingested: Path, tmp_path_factory: pytest.TempPathFactory) -> Setup:
    """A project whose embedder is tuned."""
    folder = tmp_path_factory.mktemp("tuned") / "project"
    shutil.copytree(ingested, folder)
    setup = setup_in(folder)
    assert tune(setup)[1]
    return setup


def figures_of(setup: Setup) -> dict[str, Any]:
    found = (setup.workspace.manifest("runs/embedder") or {})["figures"]
    assert isinstance(found, dict)
    return found


# ---------------------------------------------------------------- learning


def test_it_learns(tuned: Setup) -> None:
    figures = figures_of(tuned)
    print("\n" + "\n".join(figures["said"]))
    assert figures["pairs"].keys() >= {"question", "cloze"}
    assert figures["hard_negatives"] > 0.7 * sum(figures["pairs"].values())
    assert figures["passages_in_no_chunk"] == 0
    assert figures["last_loss"] < 0.5 * figures["first_loss"]
    before, after = (figures["recall"]["held_out_facts"][when] for when in ("before", "after"))
    assert before["questions"] == 32 > figures["chunks"] == 30
    assert after["mrr"] > before["mrr"] + 0.1
    assert after["recall_at_5"] > before["recall_at_5"]
    assert figures["better"] is True
    assert "index.embedder: tuned" in figures["next"]
    assert figures["disk_bytes"] > 0


def test_the_weights_are_the_best_on_questions_that_were_not_trained_on(tuned: Setup) -> None:
    figures = figures_of(tuned)
    mrr_at = {v["step"]: v["mrr"] for v in figures["validations"]}
    assert mrr_at[0] < mrr_at[figures["best_step"]] == max(mrr_at.values())
    pairs = _passages.read_pairs(tuned.workspace.path("runs/embedder") / "pairs.jsonl")
    questions = embedder.gather(tuned, tuned.config.tune, 0.2)
    validated = {e.fact for e in questions.validation}
    assert figures["validation_questions"] == len(questions.validation) > 0
    assert {p.fact for p in pairs if p.kind == "question"} == {e.fact for e in questions.train}
    assert not validated & {p.fact for p in pairs}
    asked = {e.question for e in tuned.examples if e.split != "train" or e.fact in validated}
    assert not asked & {p.anchor for p in pairs}


def test_an_embedder_that_gains_nothing_stays_as_it_was_and_says_so(ingested: Path, tmp_path: Path) -> None:
    shutil.copytree(ingested, tmp_path / "p")
    setup = setup_in(tmp_path / "p", epochs=1, rate=1e-9)
    tune(setup)
    figures = figures_of(setup)
    assert figures["best_step"] == 0
    assert figures["better"] is False
    assert any("no better than untuned" in line for line in figures["said"])
    assert any("the weights are the untuned ones" in line for line in figures["said"])
    texts = ["When is the hall shut?", "Friday."]
    made = open_encoder(setup.workspace.path("runs/embedder") / "weights")
    assert np.array_equal(encode(made, texts), encode(open_encoder(tmp_path / "p" / "bert"), texts))


def test_a_killed_run_goes_on_and_ends_in_the_same_weights(tuned: Setup, ingested: Path, tmp_path: Path) -> None:
    shutil.copytree(ingested, tmp_path / "p")
    setup = setup_in(tmp_path / "p")
    seen: list[int] = []

    def killing(step: int, steps: int, status: object) -> None:
        seen.append(step)
        if step == 30:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        tune(setup, progress=killing)
    assert setup.workspace.manifest("runs/embedder") is None
    steps: list[int] = []
    tune(setup, progress=lambda step, total, status: steps.append(step) if step else None)
    assert min(steps) > 20  # not from the beginning
    weights = "runs/embedder/weights/model.safetensors"
    assert setup.workspace.path(weights).read_bytes() == tuned.workspace.path(weights).read_bytes()
    assert not list(setup.workspace.path("runs/embedder").glob("checkpoints*"))
    assert tune(setup)[1] is False  # and nothing is made twice


# ---------------------------------------------------------------- the folder


@pytest.mark.slow
def test_sentence_transformers_loads_the_folder_and_gives_the_same_vectors(tuned: Setup) -> None:
    st = pytest.importorskip("sentence_transformers")
    weights = tuned.workspace.path("runs/embedder") / "weights"
    assert {"modules.json", "model.safetensors", "tokenizer.json"} <= {p.name for p in weights.iterdir()}
    assert (weights / "1_Pooling" / "config.json").exists()
    texts = [e.question for e in tuned.examples[:10]] + [e.passages[0].text for e in tuned.examples[:10]]
    theirs = st.SentenceTransformer(str(weights), device="cpu").encode(texts)
    assert np.allclose(encode(open_encoder(weights), texts), theirs, atol=1e-5)


# ---------------------------------------------------------------- the index


def test_the_index_uses_the_tuned_embedder_and_is_made_anew_when_that_changes(tuned: Setup, tmp_path: Path) -> None:
    shutil.copytree(tuned.workspace.root, tmp_path / "p")
    setup = setup_in(tmp_path / "p")
    assert build_index(setup.workspace, setup.config.index)[1]
    assert build_index(setup.workspace, setup.config.index)[1] is False
    question = setup.examples[0]
    encoder = open_encoder(setup.workspace.path("runs/embedder") / "weights")
    found = setup.retriever.embedder.embed([question.question])
    assert np.allclose(found, encode(encoder, [question.question]), atol=1e-5)
    assert setup.retriever.retrieve(question.question)
    assert build_system("baseline", setup).answer(as_messages(question.question)).text

    again = setup_in(tmp_path / "p", epochs=1)
    tune(again)
    with pytest.raises(ConfigError, match="other weights than when the index was made") as caught:
        _ = setup_in(tmp_path / "p").retriever
    assert caught.value.next_step == "groundtune index"
    assert build_index(again.workspace, again.config.index)[1]
    assert setup_in(tmp_path / "p").retriever.retrieve(question.question)


def test_questions_are_never_embedded_by_another_embedder_than_the_chunks(tuned: Setup, tmp_path: Path) -> None:
    shutil.copytree(tuned.workspace.root, tmp_path / "p")
    setup = setup_in(tmp_path / "p")
    build_index(setup.workspace, setup.config.index)
    for other in ("minilm", "bert"):
        with pytest.raises(ConfigError, match=f"made with the embedder 'tuned', index.embedder is '{other}'"):
            _ = setup_in(tmp_path / "p", embedder=other).retriever


def test_any_folder_is_an_embedder(ingested: Path, tmp_path: Path) -> None:
    shutil.copytree(ingested, tmp_path / "p")
    setup = setup_in(tmp_path / "p", embedder="bert")
    build_index(setup.workspace, setup.config.index)
    assert len(setup.retriever.retrieve("Who decides?")) == RetrievalConfig().top_k
    manifest = setup.workspace.manifest("index") or {}
    assert len(manifest["inputs"]["embedder"]) == 64
    write_tiny_bert(tmp_path / "p" / "bert", ["other words"], seed=1)
    assert build_index(setup.workspace, setup.config.index)[1]


def test_the_bundled_embedder_keeps_its_index(ingested: Path) -> None:
    from groundtune.retrieval.embedding import identity

    assert identity(Workspace(ingested), "minilm") == "minilm"


def test_an_embedder_that_is_not_there_is_said_to_be_so(ingested: Path) -> None:
    with pytest.raises(MissingArtifactError) as missing:
        build_index(Workspace(ingested), INDEX.model_copy(update={"embedder": "tuned"}))
    assert missing.value.next_step == "groundtune tune --method embedder"
    with pytest.raises(UnknownNameError, match="'minlm'") as unknown:
        build_index(Workspace(ingested), INDEX.model_copy(update={"embedder": "minlm"}))
    assert unknown.value.next_step == "did you mean 'minilm'?"
    with pytest.raises(InputError, match="not to be had from Hugging Face"):
        build_index(Workspace(ingested), INDEX.model_copy(update={"embedder": "nobody/nothing"}))


# ---------------------------------------------------------------- pairs


def corpus(*texts: str) -> Corpus:
    return Corpus([Chunk(f"d{n}-0", f"d{n}", f"d{n}.txt", text, heading="Rules") for n, text in enumerate(texts)])


CARDS = "A yearly card costs 48 crowns. It is valid from the day on which it is issued. Cards are blue."
BOATS = "A kayak costs 17 crowns a day. The deposit is 80 crowns. Boats are red."
HOURS = "The hall is shut on Friday. It opens at nine. Dogs stay outside."


def test_a_hard_negative_never_answers_the_question() -> None:
    texts = corpus(CARDS, BOATS, HOURS, CARDS)
    example = Example("1", "f", "train", "What does a yearly card cost?", ("48",), (Passage("d0.txt", CARDS[:30]),))
    pairs = list(_passages.question_pairs(texts, [example], ("chunk", "sentence")))
    assert [p.passage for p in pairs] == [f"d0 > Rules\n{CARDS}", "d0 > Rules: A yearly card costs 48 crowns."]
    for seed in range(10):  # chunk 3 has the same words in another document: no negative either
        found = _passages.with_negatives(texts, pairs, [[3, 0, 1, 2]] * 2, seed=seed)
        assert {p.negative_group for p in found} <= {1, 2}
    sentence = next(
        p for s in range(20) for p in _passages.with_negatives(texts, pairs, [[1]] * 2, seed=s) if p.form == "sentence"
    )
    assert sentence.negative == "d1 > Rules: A kayak costs 17 crowns a day."
    assert not _passages.with_negatives(texts, pairs, [[0], [3]], seed=0)[0].negative


def test_what_is_made_without_labels() -> None:
    texts = corpus(CARDS, BOATS, "One sentence.")
    workspace = Workspace(Path("/nonexistent"))
    pairs = _passages.unlabelled_pairs(workspace, texts, ("title", "cloze"), most=10, held_out=[], seed=3)
    cloze = [p for p in pairs if p.kind == "cloze"]
    assert {p.group for p in cloze} == {0, 1}  # of a single sentence nothing is left
    assert all(p.anchor in texts.chunks[p.group].text and p.anchor not in p.passage for p in cloze)
    titles = [p for p in pairs if p.kind == "title"]
    assert [p.anchor for p in titles] == ["d0 > Rules", "d1 > Rules", "d2 > Rules"] or len(titles) == 3
    assert all(p.passage == texts.chunks[p.group].text for p in titles)
    few = _passages.unlabelled_pairs(workspace, texts, ("title", "cloze"), most=3, held_out=[], seed=3)
    assert sorted(p.kind for p in few) == ["cloze", "title", "title"]


def test_templates_ask_nothing_that_is_held_out(tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    lines = {"fees": "The fee of a berth is 31 crowns.", "lamp": "The lamp of the pier was built in 1874."}
    for name, line in lines.items():
        (tmp_path / "documents" / f"{name}.txt").write_text(
            f"{line}\n\nA shackle is a bow of steel.\n", encoding="utf-8"
        )
    workspace = Workspace(tmp_path)
    ingest(workspace, ["documents"])
    texts = Corpus(_passages.project_chunks(workspace, IndexConfig(), lambda text: len(text.split())))
    document = next(c.document for c in texts.chunks if "fees" in c.document)

    def anchors(held_out: list[Example]) -> set[str]:
        made = _passages.unlabelled_pairs(workspace, texts, ("template",), most=50, held_out=held_out, seed=0)
        return {p.anchor for p in made if p.group in texts.holding(Passage(document, lines["fees"]))}

    free = anchors([])
    assert free
    held = Example("1", "f", "held_out_facts", "How dear is a berth?", ("31",), (Passage(document, lines["fees"]),))
    asked_of_fee = {q for q in free if "fee" in q.lower() or "berth" in q.lower()}
    assert asked_of_fee
    assert not asked_of_fee & anchors([held])


def test_passages_of_a_dataset_file_find_their_chunk_or_become_one(ingested: Path, tmp_path: Path) -> None:
    shutil.copytree(ingested, tmp_path / "p")
    known = next(p for p, _ in items())
    rows = [
        {"prompt": f"Which note is number {n}?", "completion": text}
        for n, text in enumerate((known, "A passage that stands in no document, about herring gulls."))
    ]
    (tmp_path / "p" / "pairs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    setup = setup_in(tmp_path / "p")
    config = setup.config.tune.model_copy(update={"data": "pairs.jsonl"})
    questions = embedder.gather(setup, config, 0.0)
    assert [e.question for e in questions.train] == ["Which note is number 0?", "Which note is number 1?"]
    encoder = open_encoder(tmp_path / "p" / "bert")
    chunks = _passages.project_chunks(setup.workspace, INDEX, encoder.count_tokens)
    texts = Corpus(chunks)
    first, second = texts.placed(questions.train)
    assert texts.chunks[texts.holding(first.passages[0])[0]].document.endswith("note-00.txt")
    assert [c.text for c in texts.chunks[len(chunks) :]] == [rows[1]["completion"]]
    assert texts.holding(second.passages[0]) == [len(chunks)]


def test_a_held_out_question_in_the_dataset_file_is_refused(ingested: Path, tmp_path: Path) -> None:
    shutil.copytree(ingested, tmp_path / "p")
    setup = setup_in(tmp_path / "p")
    held = next(e for e in setup.examples if e.split == "held_out_facts")
    row = {"prompt": held.question.upper(), "completion": held.passages[0].text}
    (tmp_path / "p" / "pairs.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    config = setup.config.tune.model_copy(update={"data": "pairs.jsonl"})
    with pytest.raises(InputError, match=r"1 questions of pairs\.jsonl are held-out ones"):
        tune(Setup(setup.workspace, setup.config.model_copy(update={"tune": config})))


# ---------------------------------------------------------------- measures


def test_recall_and_mrr_are_the_metrics_of_that_name() -> None:
    texts = corpus(*(f"word{n} stands here and nowhere else at all" for n in range(9)))
    examples = [
        Example(
            str(n), str(n), "held", f"q{n}", ("a",), tuple(Passage(f"d{m}.txt", texts.chunks[m].text) for m in held)
        )
        for n, held in enumerate([(0,), (3, 7), (8,), (5, 6)])
    ] + [Example("x", "x", "other", "qx", ("a",), (Passage("d1.txt", "what no chunk holds"),))]
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(9, 4)).astype(np.float32)
    asked = rng.normal(size=(5, 4)).astype(np.float32)
    judge = Judge(texts, examples)
    assert judge.missing == 1
    found = judge._scores(asked, vectors, judge.held)
    for example, question, scores in zip(examples, asked, found, strict=True):
        order = np.argsort(-(vectors @ question))
        chunks = [texts.chunks[n] for n in order]
        retrieved = tuple(Source(c.document, c.id, 0.0, "", text=c.text) for c in chunks)
        completion = Completion("", retrieved=retrieved)
        expected = [m.score(completion, example) for m in (recall_at_1, recall_at_5, mrr)]
        assert scores == pytest.approx(expected)


def test_a_gain_is_clear_beyond_two_standard_errors_over_facts() -> None:
    """Facts a, b, c gain 1, 0, 0.5: mean 0.5, deviation 0.5, standard error 0.5 / sqrt 3 = 0.289."""
    before, after = [0.0, 0.0, 0.5, 0.0], [1.0, 1.0, 0.5, 0.5]
    found = gain(before, after, ["a", "a", "b", "c"])
    assert found.mean == pytest.approx(2.5 / 4)
    assert found.error == pytest.approx(0.5 / 3**0.5)
    assert found.clear
    assert not gain(before[2:], after[2:], ["b", "c"]).clear
    assert not gain([0.0, 0.0], [1.0, 1.0], ["a", "a"]).clear  # one fact tells nothing
    assert not gain([0.5, 0.5], [0.5, 0.5], ["a", "b"]).clear


def test_better_is_what_is_clear() -> None:
    up, level, down = Gain(0.1, 0.01), Gain(0.0, 0.0), Gain(-0.1, 0.01)
    assert better(up, down) is True
    assert better(level, up) is True
    assert better(Gain(-0.01, 0.0), up) is False
    assert better(level, level) is better(Gain(0.1, 0.06), level) is False
    assert better(None, None) is None


def test_bm25_is_the_formula() -> None:
    texts = ["card card fee", "kayak fee harbour pier", "harbour"]
    scores = Bm25(texts).scores(["What is the card fee?"])
    idf = {"card": np.log(1 + 2.5 / 1.5), "fee": np.log(1 + 1.5 / 2.5)}
    norm = [K1 * (1 - B + B * length / (8 / 3)) for length in (3, 4, 1)]
    expected = [
        idf["card"] * 2 * (K1 + 1) / (2 + norm[0]) + idf["fee"] * (K1 + 1) / (1 + norm[0]),
        idf["fee"] * (K1 + 1) / (1 + norm[1]),
        0.0,
    ]
    assert np.allclose(scores[0], expected, atol=1e-5)
    assert list(Bm25(texts).best(["harbour card", "zebra"], 2)) == [[0, 2], []]
    assert list(Bm25(["the of and", "is"]).best(["the"], 2)) == [[]]


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("options", "words"),
    [({"batch_pears": 3}, "batch_pears"), ({"negatives": "random"}, "negatives"), ({"model": "tuned"}, "itself")],
)
def test_wrong_options_are_refused(ingested: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        tune(setup_in(ingested, **options))


def test_nothing_ingested_is_said(tmp_path: Path) -> None:
    write_examples(tmp_path / "questions.jsonl", [Example("1", "1", "train", "Who?", ("Ann",))])
    with pytest.raises(MissingArtifactError) as caught:
        tune(setup_in(tmp_path))
    assert caught.value.next_step == "groundtune ingest"


def test_passes_are_few_unless_they_are_set() -> None:
    assert embedder.epochs_of(TuneConfig(method="embedder")) == embedder.EPOCHS == 3
    assert embedder.epochs_of(TuneConfig(method="embedder", epochs=10)) == 10


def test_it_is_no_system_and_tuned_does_not_stand_for_it(tuned: Setup) -> None:
    with pytest.raises(UnknownNameError):
        build_system("embedder", tuned)
    with pytest.raises(ConfigError, match="makes no model that answers"):
        build_system("tuned", tuned)


def test_a_dataset_file_alone_is_enough(ingested: Path, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    shutil.copytree(ingested / "bert", tmp_path / "p" / "bert")
    rows = [{"prompt": asked[0][0], "completion": passage} for passage, asked in items()]
    (tmp_path / "p" / "pairs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    setup = setup_in(tmp_path / "p", epochs=3)
    config = setup.config.tune.model_copy(update={"data": "pairs.jsonl"})
    tune(Setup(setup.workspace, setup.config.model_copy(update={"tune": config})))
    figures = figures_of(setup)
    assert figures["chunks"] == len(rows)
    assert figures["last_loss"] < 0.95 * figures["first_loss"]
    assert figures["validation_questions"] == 6
    assert figures["documents"] and figures["documents_complete"] is False  # whose the passages are is not known
    assert figures["better"] is None
    assert "is not known" in figures["said"][-1]
