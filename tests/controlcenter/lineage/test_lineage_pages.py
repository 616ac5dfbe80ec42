"""The picture of the lineage on the pages of datasets, tasks and model versions."""

import re
from html.parser import HTMLParser

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from lineage_fixtures import History, version_of

from controlcenter.lineage import layout, queries
from controlcenter.lineage.layout import HEIGHT, WIDTH, picture
from controlcenter.lineage.templatetags.lineage import lineage as tag
from controlcenter.modelling.datasets import services as datasets
from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.registry.models import ModelVersion

pytestmark = pytest.mark.django_db
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def history(workspace, owner, team):
    return History(workspace, owner)


@pytest.fixture
def done(history, ready_dataset):
    return history.run(history.task("continuous", ready_dataset, max_iterations=2))


@pytest.fixture
def browser(team):
    viewer = team.accounts["viewer"]
    type(viewer).objects.filter(pk=viewer.pk).update(is_staff=True)
    client = Client()
    client.force_login(viewer)
    return client


def page(client, name, pk):
    answer = client.get(reverse(f"admin:{name}_change", args=[pk]))
    assert answer.status_code == 200
    return answer.content.decode()


class Svg(HTMLParser):
    """Links, boxes and lines of the picture on a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.boxes, self.lines = [], 0, 0
        self.feed(text[text.index('<svg class="ups-lineage"') :].partition("</svg>")[0])

    def handle_starttag(self, name, attrs):
        told = dict(attrs)
        if name == "a":
            self.links.append(told["href"])
            assert told["aria-label"]
        self.boxes += name == "rect"
        self.lines += name == "path" and "edge" in told.get("class", "")


def test_each_page_has_the_picture_with_links_that_open(browser, done, ready_dataset):
    version = version_of(done, 1)
    pages = [
        ("datasets_dataset", ready_dataset.pk),
        ("datasets_dataset", version.dataset_id),
        ("tasks_task", done.pk),
        ("registry_modelversion", version.pk),
    ]
    for name, pk in pages:
        text = page(browser, name, pk)
        found = Svg(text)
        assert found.boxes == len(found.links) > 4
        assert found.lines >= found.boxes - 1
        for url in found.links:
            assert browser.get(url).status_code == 200, url
    assert text.count("ups-asked") == 1


def test_the_picture_has_every_node_and_edge_and_says_so_in_words(done):
    told = queries.of_task(done)
    drawn = picture(told)
    assert [box.node.key for box in drawn.boxes]
    assert {box.node.key for box in drawn.boxes} == {node.key for node in told.nodes}
    assert len(drawn.lines) == len(told.edges)
    assert sum(line.back for line in drawn.lines) == 1, "a suggestion goes back"
    rows = {str(row[1]): row for row in drawn.table.rows}
    assert len(drawn.table.rows) == len(told.nodes)
    assert "telecom (optimized)" in "".join(row[4] for row in drawn.table.rows)
    assert any("(suggested)" in row[4] for row in rows.values())
    assert "2 × graph" in drawn.text


def test_an_evaluation_in_the_table_says_that_its_score_is_not_validated(done):
    def told():
        rows = picture(queries.of_task(done)).table.rows
        return {str(row[0]) for row in rows if "not validated" in row[5]}

    assert told() == set()
    ModelVersion.objects.filter(task_id=done.pk).update(metrics={"score": {"validated": False}})
    assert told() == {"evaluation"}


def test_no_two_boxes_overlap_and_all_lie_inside(history, done, ready_dataset):
    history.run(history.task("fusion"))
    history.rescore(version_of(done, 1))
    for told in (queries.of_dataset(ready_dataset), queries.of_task(done)):
        drawn = picture(told)
        spots = [(box.x, box.y) for box in drawn.boxes]
        for number, (x, y) in enumerate(spots):
            assert 0 <= x <= drawn.width - WIDTH
            assert 0 <= y <= drawn.height - HEIGHT
            for other in spots[number + 1 :]:
                assert abs(other[0] - x) >= WIDTH or abs(other[1] - y) >= HEIGHT


def test_what_is_gone_is_drawn_so(history, done, browser, ready_dataset):
    derived = Dataset.objects.get(pk=version_of(done, 0).dataset_id)
    datasets.delete(dataset=derived, account=history.account)
    text = page(browser, "tasks_task", done.pk)
    gone = re.findall(r'class="box [^"]*ups-gone[^"]*"><title>([^<]*)', text)
    assert derived.name in gone
    assert "derived dataset, gone" in text


def test_names_are_text(browser, done, ready_dataset):
    Dataset.objects.filter(pk=ready_dataset.pk).update(name=EVIL)
    text = page(browser, "datasets_dataset", ready_dataset.pk)
    assert EVIL not in text
    assert "&lt;script&gt;" in text


def test_a_task_that_made_nothing_shows_what_it_was_given(history, ready_dataset, browser):
    task = history.task("refresh", ready_dataset)
    assert Svg(page(browser, "tasks_task", task.pk)).boxes == 1
    assert picture(queries.of_active(history.workspace.pk)) is None


def test_a_large_picture_is_cut_and_says_so(browser, done, ready_dataset, monkeypatch):
    monkeypatch.setattr("controlcenter.lineage.templatetags.lineage.DRAWN", 4)
    text = page(browser, "datasets_dataset", ready_dataset.pk)
    assert "Only the nearest things are shown" in text
    assert Svg(text).boxes == 4


def test_every_kind_of_node_has_a_column_and_a_title():
    columns = {kind for kinds in layout.COLUMNS for kind in kinds}
    assert columns == set(layout.TITLES) >= set(layout.PAGES)


def test_the_tag_refuses_other_rows(workspace):
    with pytest.raises(TypeError, match="expected a dataset, a task or a model version"):
        tag(workspace)


def test_a_page_costs_the_same_however_much_was_made(history, done, browser, ready_dataset):
    address = reverse("admin:datasets_dataset_change", args=[ready_dataset.pk])
    browser.get(address)
    with CaptureQueriesContext(connection) as few:
        browser.get(address)
    history.run(history.task("continuous", ready_dataset, max_iterations=2))
    with CaptureQueriesContext(connection) as many:
        browser.get(address)
    assert len(many) == len(few)
