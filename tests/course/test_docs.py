"""Pages for lecturers and contributors, hooks and workflow say what the repository really has."""

from __future__ import annotations

import re
from pathlib import Path

import build as bn
import floors
import pytest
import readme_picture
import yaml

ROOT = Path(__file__).resolve().parents[2]
LECTURERS = (ROOT / "notebooks" / "for_lecturers.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SOURCES = bn.read_sources()
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "notebooks/for_lecturers.md"])
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s#]+)", text):
        assert ((ROOT / page).parent / target).exists(), target


def test_lecturers_find_a_goal_for_every_notebook_of_the_course():
    for source in SOURCES:
        assert f"| [{source.number} " in LECTURERS and f"({source.stem}.ipynb)" in LECTURERS


def test_sections_that_lecturers_are_sent_to_are_there():
    headings = [
        heading
        for source in SOURCES
        for heading in re.findall(r"^#+ (.+)$", source.text, flags=re.MULTILINE)
    ]
    named = re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", LECTURERS)
    assert len(named) > 10
    for name in named:
        assert any(heading.startswith(name) for heading in headings), name


def minutes_and_breaks(title: str) -> list[tuple[int, int]]:
    """Of each table of a plan: the minutes in all, and of these the breaks."""
    plans = re.split(r"^## ", LECTURERS, flags=re.MULTILINE)
    plan = next(plan for plan in plans if plan.startswith(title))
    found = []
    for table in re.split(r"\n\n(?!\|)", plan):
        rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", table, flags=re.MULTILINE)
        if rows:
            breaks = sum(int(number) for number, what in rows if what == "break")
            found.append((sum(int(number) for number, _ in rows), breaks))
    return found


def test_plans_fill_their_hours_and_have_breaks():
    (two,) = minutes_and_breaks("Two hours")
    (added,) = minutes_and_breaks("Four hours")
    blocks = minutes_and_breaks("Eight hours")
    assert two[0] == two[0] + added[0] - 120 == 120
    assert [block[0] for block in blocks] == [240, 240]
    for minutes, breaks in (two, added, *blocks):
        assert breaks >= minutes / 15


def test_the_whole_course_has_every_notebook_up_to_08_in_order():
    plan = LECTURERS.split("## Eight hours")[1].split("## Grading")[0]
    numbers = re.findall(r"^\| \d+ \| (\d\d)\b", plan, flags=re.MULTILINE)
    assert numbers == [f"{k:02}" for k in range(9)]


def test_contributing_is_short_and_names_what_is_there():
    assert len(CONTRIBUTING.splitlines()) < 100
    files = re.findall(r"\b(?:\w+/)+\w+\.(?:py|md)\b", CONTRIBUTING)
    assert len(files) > 10
    for name in files:
        assert "NN_topic" in name or (ROOT / name).exists(), name
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in re.findall(r"\bmake ([a-z-]+)", CONTRIBUTING):
        assert re.search(rf"^{command}:", makefile, flags=re.MULTILINE), command


def test_readme_shows_three_light_pictures_with_alt_text():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text)
    assert len(pictures) == 3
    for alt, path in pictures:
        assert len(alt.split()) > 20 and (ROOT / path).stat().st_size < 150_000, path


@pytest.mark.parametrize("name", readme_picture.OUTPUTS)
def test_pictures_of_the_readme_can_be_taken_from_the_notebooks(name):
    png, alt = readme_picture.output_picture(*readme_picture.OUTPUTS[name])
    assert png.startswith(b"\x89PNG") and len(alt.split()) > 5
    assert len(readme_picture.small(png)) < readme_picture.MAX_BYTES


def test_hooks_are_local_and_run_tests_that_exist():
    hooks = [hook for repo in HOOKS["repos"] for hook in repo["hooks"]]
    assert {repo["repo"] for repo in HOOKS["repos"]} == {"local"}
    for hook in hooks:
        for name in re.findall(r"tests/\w+\.py", hook["entry"]):
            assert (ROOT / name).exists(), name


def test_workflow_runs_the_oldest_and_the_newest_that_pyproject_allows():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    job = WORKFLOW["jobs"]["linux"]
    oldest, newest = job["strategy"]["matrix"]["include"]
    assert f'requires-python = ">={oldest["python"]}"' in text
    assert tuple(map(int, newest["python"].split("."))) >= (3, 13)
    commands = [step.get("run", "") for step in job["steps"]]
    (at,) = (k for k, command in enumerate(commands) if "floors.py" in command)
    assert job["steps"][at]["if"] == "matrix.name == 'oldest'"
    assert "pip install -r floors.txt" in commands[at] and at < commands.index("make test")


def test_floors_are_those_of_all_dependencies():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.findall(r'^ +"([^"]+)"', text[: text.index("[tool.")], flags=re.MULTILINE)
    pinned = floors.floors(text)
    assert [line.replace("==", ">=").removesuffix(".*") for line in pinned] == listed
    assert {"torch", "ipywidgets", "pytest", "myst-nb"} <= {line.split("==")[0] for line in pinned}


def test_other_systems_run_files_that_exist():
    job = WORKFLOW["jobs"]["others"]
    assert {"macos-latest", "windows-latest"} == set(job["strategy"]["matrix"]["os"])
    named = [
        name
        for step in job["steps"]
        for name in re.findall(r"(?:tests|notebooks)/\w+\.(?:py|ipynb)", step.get("run", ""))
    ]
    assert len(named) > 10
    for name in named:
        assert (ROOT / name).exists(), name
