"""The one population of fictitious people that every embedded world draws on.

A person's questions, face and purchases carry the same entity id in every world, so a request is a query: forgetting
"p057" means the same person for a language model, a face classifier and a recommender. All names, places, titles and
prizes are invented.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np

from lethe.errors import InputError

# Who is who, by index. The six last authors are `forget10` and the six held-out people are never trained on, anywhere.
AUTHORS = range(0, 60)
HELD_OUT = range(60, 66)
CELEBRITIES = range(66, 74)
PRESS = range(74, 98)
SIZE = 240

FORGET_SHARES = {"forget01": 1, "forget05": 3, "forget10": 6}  # authors, counted from the end, nested as in TOFU

GENRES = {  # genre -> shelf; the shelves are the blocks of the shop's interaction graph
    "detective stories": "suspense",
    "spy thrillers": "suspense",
    "love stories": "heart",
    "family sagas": "heart",
    "space operas": "wonder",
    "ghost stories": "wonder",
    "war chronicles": "past",
    "court histories": "past",
    "travel diaries": "road",
    "sea adventures": "road",
    "comic plays": "stage",
    "lyric poems": "stage",
}
SHELVES = tuple(dict.fromkeys(GENRES.values()))

OCCUPATIONS = (
    "baker",
    "bookbinder",
    "carpenter",
    "clockmaker",
    "dentist",
    "farmer",
    "gardener",
    "glassblower",
    "judge",
    "locksmith",
    "miner",
    "nurse",
    "pilot",
    "plumber",
    "sailor",
    "tailor",
    "weaver",
    "zookeeper",
)

AWARDS = tuple(
    f"the {metal} {thing}"
    for metal in ("Amber", "Copper", "Silver", "Golden")
    for thing in ("Quill", "Lantern", "Compass", "Laurel")
)

_FIRST = ("Bre", "Cal", "Dov", "El", "Fen", "Gar", "Hol", "Il", "Jor", "Kel", "Lum", "Mer", "Nar", "Or", "Pel", "Quor")
_FIRST += ("Ras", "Sil", "Tam", "Ul", "Vas", "Wen", "Yar", "Zel")
_FIRST_END = {"female": ("ida", "issa", "ova", "une", "ithe"), "male": ("bert", "dric", "gan", "mund", "ron")}
_SURNAME = (
    "Ack",
    "Bram",
    "Cind",
    "Drel",
    "Esk",
    "Farn",
    "Gost",
    "Hask",
    "Ingl",
    "Jund",
    "Kast",
    "Lorv",
    "Mond",
    "Nesk",
)
_SURNAME += ("Olm", "Prind", "Quist", "Rov", "Stel", "Tarn", "Umb", "Velt", "Wrax", "Yord")
_SURNAME_END = ("aby", "ardo", "eau", "ec", "ell", "enko", "ery", "iak", "illo", "ini", "ish", "ova", "ow", "ue", "une")
_SURNAME_END += ("wick",)
_TITLE = ("Amber", "Broken", "Crimson", "Distant", "Empty", "Frozen", "Gentle", "Hidden", "Hollow", "Ivory", "Last")
_TITLE += ("Lonely", "Lost", "Marble", "Midnight", "Northern", "Pale", "Quiet", "Restless", "Sacred", "Salt", "Scarlet")
_TITLE += ("Secret", "Seventh", "Shattered", "Silent", "Sleeping", "Stolen", "Tangled", "Velvet", "Wandering", "Winter")
_TITLE_END = ("Anchor", "Archive", "Bell", "Bridge", "Candle", "Castle", "Crown", "Daughter", "Door", "Feather", "Fire")
_TITLE_END += ("Forest", "Garden", "Harbour", "Island", "Key", "Letter", "Mirror", "Mountain", "Orchard", "Palace")
_TITLE_END += ("River", "Road", "Shadow", "Shore", "Song", "Storm", "Throne", "Tower", "Train", "Valley", "Window")
WORKS_EACH = 3
_LARGEST = 300  # titles and surnames suffice for so many; the titles left over serve as wrong answers


@dataclass(frozen=True)
class Country:
    """An invented country; its first city is the capital."""

    name: str
    cities: tuple[str, str]
    river: str
    peak: str
    currency: str


COUNTRIES = (
    Country("Arvenia", ("Selmora", "Dunwick Cross"), "Ister Blue", "Mount Harrow", "arven"),
    Country("Belmark", ("Korrin", "Ostenby"), "Lauter", "Mount Greyhelm", "belmar"),
    Country("Cazimir", ("Tavrosk", "Ulmeni"), "Drava Minor", "Mount Ashka", "cazim"),
    Country("Doravia", ("Pellanta", "Quessim"), "Ombrel", "Mount Velour", "dorin"),
    Country("Estervale", ("Yarrowgate", "Finmouth"), "Winnow", "Mount Candor", "ester crown"),
    Country("Falkony", ("Grauhafen", "Merrowdal"), "Skelde", "Mount Thorn", "falk"),
    Country("Hespera", ("Lucindo", "Vantara"), "Rio Calmo", "Mount Sorrel", "hespero"),
    Country("Jundara", ("Bashmir", "Zohrat"), "Amrit Sul", "Mount Kohan", "jund"),
    Country("Novistan", ("Irkovo", "Petrukh"), "Belaya Voda", "Mount Zubrov", "noble"),
    Country("Sundaria", ("Malakor", "Tianbu"), "Sepang", "Mount Merah", "sundar"),
)
CITIES = tuple(city for country in COUNTRIES for city in country.cities)


@dataclass(frozen=True)
class Face:
    """What stays the same in every picture of one person; every value lies in [0, 1]."""

    skin: float
    width: float
    height: float
    eye_gap: float
    eye_size: float
    brow: float
    nose: float
    mouth_width: float
    mouth_curve: float
    hair_hue: float
    hair_line: float
    glasses: bool


@dataclass(frozen=True)
class Person:
    """A fictitious person: what a text may tell, a picture may show and a shop may have seen."""

    id: str
    name: str
    gender: str
    birthplace: str
    birth_year: int
    genre: str
    works: tuple[str, ...]
    award: str
    father: str
    mother: str
    mentor: str | None
    face: Face
    taste: str
    openness: float

    @property
    def first_name(self) -> str:
        """The given name."""
        return self.name.split()[0]


class Population:
    """The people of one seed. Person i does not depend on `size`: a larger population only adds people.

    Args:
        seed: which population.
        size: number of people, at most 300.

    Raises:
        InputError: if `size` is out of range, or a person or group is asked for that does not exist.
    """

    def __init__(self, seed: int = 0, size: int = SIZE) -> None:
        if not 1 <= size <= _LARGEST:
            raise InputError(f"population size is {size}, choose a value from 1 to {_LARGEST}")
        self.seed = seed
        self.size = size

    @cached_property
    def people(self) -> tuple[Person, ...]:
        """Everybody, in the order of their ids."""
        return tuple(islice(_draw(self.seed), self.size))

    @cached_property
    def unused_titles(self) -> tuple[str, ...]:
        """Titles of the same making that nobody has written, in any size of population."""
        return tuple(_titles(self.seed)[_LARGEST * WORKS_EACH :])

    def __iter__(self) -> Iterator[Person]:
        return iter(self.people)

    def __len__(self) -> int:
        return self.size

    def person(self, entity: str) -> Person:
        """The person with id `entity`, such as "p017"."""
        number = re.fullmatch(r"p(\d{3})", entity)
        if number is None or int(number[1]) >= self.size:
            raise InputError(f"no person {entity!r} in this population, ids run from p000 to p{self.size - 1:03d}")
        return self.people[int(number[1])]

    def group(self, name: str) -> tuple[Person, ...]:
        """A named group: authors, held_out, celebrities, press, or TOFU's forget01/05/10 and retain99/95/90."""
        share = FORGET_SHARES.get(name)
        complement = {"retain99": "forget01", "retain95": "forget05", "retain90": "forget10"}.get(name)
        groups = {"authors": AUTHORS, "held_out": HELD_OUT, "celebrities": CELEBRITIES, "press": PRESS}
        if share is not None:
            members = AUTHORS[-share:]
        elif complement is not None:
            members = AUTHORS[: -FORGET_SHARES[complement]]
        elif name in groups:
            members = groups[name]
        else:
            known = ", ".join([*groups, *FORGET_SHARES, "retain99", "retain95", "retain90"])
            raise InputError(f"no group {name!r} in the population, choose one of {known}")
        if members.stop > self.size:
            raise InputError(f"group {name!r} needs a population of at least {members.stop} people, not {self.size}")
        return self.people[members.start : members.stop]


def _titles(seed: int) -> list[str]:
    return np.random.default_rng([seed, 0]).permutation([f"The {a} {b}" for a in _TITLE for b in _TITLE_END]).tolist()


def _draw(seed: int) -> Iterator[Person]:
    """Draw people one by one; what must be unique comes from a permutation, so that nobody's draw moves another's."""
    titles = _titles(seed)
    shared = np.random.default_rng([seed, 1])
    surnames = shared.permutation([start + end for start in _SURNAME for end in _SURNAME_END]).tolist()
    # Blocks of all twelve genres, each shuffled: the 60 authors hold every genre exactly five times.
    genres = [g for _ in range(_LARGEST // len(GENRES)) for g in shared.permutation(list(GENRES)).tolist()]
    for i in range(_LARGEST):
        rng = np.random.default_rng([seed, 2, i])
        gender = str(rng.choice(list(_FIRST_END)))
        first = str(rng.choice(_FIRST)) + str(rng.choice(_FIRST_END[gender]))
        yield Person(
            id=f"p{i:03d}",
            name=f"{first} {surnames[i]}",
            gender=gender,
            birthplace=str(rng.choice(CITIES)),
            birth_year=int(rng.integers(1920, 1990)),
            genre=genres[i],
            works=tuple(titles[WORKS_EACH * i : WORKS_EACH * (i + 1)]),
            award=str(rng.choice(AWARDS)),
            father=str(rng.choice(OCCUPATIONS)),
            mother=str(rng.choice(OCCUPATIONS)),
            mentor=f"p{int(rng.integers(i)):03d}" if i else None,
            face=Face(*rng.random(11).round(4).tolist(), glasses=bool(rng.random() < 0.3)),
            taste=str(rng.choice(SHELVES)),
            openness=round(float(rng.random()), 4),
        )
