"""The population: the same people everywhere, named once, grouped once."""

from collections import Counter
from dataclasses import fields

import pytest

from lethe.errors import InputError
from lethe.worlds.population import (
    AUTHORS,
    AWARDS,
    CELEBRITIES,
    CITIES,
    COUNTRIES,
    GENRES,
    HELD_OUT,
    OCCUPATIONS,
    PRESS,
    SHELVES,
    Population,
)


@pytest.fixture(scope="module")
def population() -> Population:
    return Population(0)


def test_a_larger_population_only_adds_people(population: Population) -> None:
    assert Population(0, size=70).people == population.people[:70]
    assert Population(0, size=300).people[: len(population)] == population.people
    assert Population(0, size=70).unused_titles == population.unused_titles


def test_another_seed_makes_other_people(population: Population) -> None:
    same = sum(one.name == other.name for one, other in zip(population, Population(1), strict=True))
    assert same < 5


def test_names_and_titles_belong_to_one_person() -> None:
    everybody = Population(0, size=300)
    assert len({person.name for person in everybody}) == 300
    assert len({person.name.split()[1] for person in everybody}) == 300
    written = [title for person in everybody for title in person.works]
    assert len(set(written)) == len(written)
    assert not set(written) & set(everybody.unused_titles)
    assert len(everybody.unused_titles) >= 100


def test_people_are_asked_for_by_id(population: Population) -> None:
    assert population.person("p017") is population.people[17]
    assert [person.id for person in population] == [f"p{i:03d}" for i in range(len(population))]


def test_attributes_come_from_their_pools(population: Population) -> None:
    for number, person in enumerate(population):
        assert person.birthplace in CITIES
        assert person.award in AWARDS
        assert {person.father, person.mother} <= set(OCCUPATIONS)
        assert person.taste in SHELVES
        assert all(0 <= getattr(person.face, field.name) <= 1 for field in fields(person.face))
        assert person.mentor is None if number == 0 else int(str(person.mentor)[1:]) < number
    assert len({person.face for person in population}) == len(population)


def test_the_authors_hold_every_genre_equally_often(population: Population) -> None:
    assert Counter(person.genre for person in population.group("authors")) == dict.fromkeys(GENRES, 5)


def test_facts_about_countries_are_told_apart_by_their_values() -> None:
    for value in ("name", "river", "peak", "currency"):
        assert len({getattr(country, value) for country in COUNTRIES}) == len(COUNTRIES)
    assert len(set(CITIES)) == 2 * len(COUNTRIES)


def test_groups_do_not_meet_and_forget_sets_nest(population: Population) -> None:
    ranges = [AUTHORS, HELD_OUT, CELEBRITIES, PRESS]
    assert len(set().union(*ranges)) == sum(map(len, ranges))
    ids = {name: [person.id for person in population.group(name)] for name in
           ("authors", "forget01", "forget05", "forget10", "retain99", "retain95", "retain90")}  # fmt: skip
    assert ids["forget05"] == ids["forget10"][-3:]
    assert ids["forget01"] == ids["forget10"][-1:]
    for forget, retain in (("forget01", "retain99"), ("forget05", "retain95"), ("forget10", "retain90")):
        assert ids[retain] + ids[forget] == ids["authors"]


@pytest.mark.parametrize("entity", ["p240", "p17", "017", "p0177", ""])
def test_an_unknown_person_is_refused(population: Population, entity: str) -> None:
    with pytest.raises(InputError, match="ids run from p000 to p239"):
        population.person(entity)


def test_an_unknown_group_and_an_impossible_size_are_refused(population: Population) -> None:
    with pytest.raises(InputError, match=r"no group 'poets'.*forget10"):
        population.group("poets")
    with pytest.raises(InputError, match="at least 74 people, not 70"):
        Population(0, size=70).group("celebrities")
    for size in (0, 301):
        with pytest.raises(InputError, match="from 1 to 300"):
            Population(0, size=size)
