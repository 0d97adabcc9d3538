"""File_Search_Responses: PDFs put into a vector store by ten threads, searched, and asked about in one call."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from notebook_server import NotebookServer

from sample_project import write_pdf

PAPERS = {
    "ferries.pdf": ("Ferries", "Dogs over 25 kg travel in Zone Amber. The last ferry to Ostwick leaves at 22:40."),
    "leave.pdf": ("Holidays", "Employees have 27 days of paid holiday a year. Unused days expire in March."),
    "passwords.pdf": ("Passwords", "A password is changed every ninety days and has at least fourteen characters."),
    "kayaks.pdf": ("Boats", "A kayak costs 17 crowns for an hour. The deposit for a kayak is 80 crowns."),
    "stacks.pdf": ("Reading rooms", "The stacks open at nine. Lost keys are replaced within 6 working days."),
    "archive.pdf": ("Archive", "The archive keeps maps of the valley from 1790 on. Copies cost 3 crowns a page."),
}
QUESTIONS = {
    "Where do dogs over 25 kg travel?": "ferries.pdf",
    "How many days of paid holiday do employees have?": "leave.pdf",
    "How many characters has a password at least?": "passwords.pdf",
    "What is the deposit for a kayak?": "kayaks.pdf",
}


def upload_single_pdf(client: Any, path: Path, vector_store_id: str) -> dict[str, str]:
    file_name = path.name
    file_response = client.files.create(file=path.open("rb"), purpose="assistants")
    client.vector_stores.files.create(vector_store_id=vector_store_id, file_id=file_response.id)
    return {"file": file_name, "status": "success"}


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_file_search_with_the_responses_api(notebook_server: NotebookServer, tmp_path: Path) -> None:
    client = notebook_server.client()
    for name, pages in PAPERS.items():
        write_pdf(tmp_path / name, pages)
    store = client.vector_stores.create(name="openai_blog_store")
    with ThreadPoolExecutor(max_workers=10) as threads:
        done = list(threads.map(lambda path: upload_single_pdf(client, path, store.id), sorted(tmp_path.glob("*.pdf"))))
    assert [one["status"] for one in done] == ["success"] * len(PAPERS)
    for file in client.vector_stores.files.list(store.id):
        assert client.vector_stores.files.poll(file.id, vector_store_id=store.id).status == "completed"
    assert client.vector_stores.retrieve(store.id).file_counts.completed == len(PAPERS)

    for query, name in QUESTIONS.items():
        results = client.vector_stores.search(vector_store_id=store.id, query=query)
        assert results.data[0].filename == name and 0 < results.data[0].score <= 1
        assert sum(len(result.content[0].text) for result in results.data) > 0

        tool = {"type": "file_search", "vector_store_ids": [store.id]}
        response = client.responses.create(input=query, model="gpt-4o-mini", tools=[tool], temperature=0)
        annotations = response.output[1].content[0].annotations
        assert name in {result.filename for result in annotations}, response.output_text
        assert response.output[0].type == "file_search_call" and response.output[1].content[0].text

    tool |= {"max_num_results": 2}
    response = client.responses.create(
        input=query, model="gpt-4o-mini", tools=[tool], include=["file_search_call.results"], temperature=0
    )
    names = [result.filename for result in response.output[0].results]
    assert names[0] == name and len(names) <= 2
