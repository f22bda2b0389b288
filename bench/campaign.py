"""An invented campaign that `builtin:spam` does not know: journals that ask for papers."""

from __future__ import annotations

import random

_FIELDS = ("Catalysis", "Marine Biology", "Public Health", "Soil Science", "Nursing", "Robotics")
_JOURNALS = ("International Journal of {}", "Advances in {}", "Open Archives of {}")
_SUBJECTS = ("Invitation to submit to {}", "Call for papers: {}", "Manuscript request, {}")
_GREETINGS = ("Dear Professor", "Dear Doctor", "Greetings of the day", "Respected researcher")
_SENTENCES = (
    "We have read your recent article on {field} and were impressed by its scientific merit.",
    "On behalf of the editorial board it is our pleasure to invite you to contribute a manuscript "
    "to the upcoming issue of {journal}.",
    "All articles undergo rapid peer review within {days} days and are published open access.",
    "The processing charge is {days}49 dollars, with a discount for this issue.",
    "We also welcome you to join our editorial board as an honorary member.",
    "Kindly send your research, review or mini review before the {days}th.",
    "The journal is indexed in many databases and assigns a DOI to each article.",
    "We look forward to a long lasting scientific relationship with you.",
)
_NAMES = ("Emily Watson", "Grace Miller", "Sophia Brown", "Daniel Clark")


def campaign_mail(number: int) -> str:
    """Subject and body, another for each number."""
    chance = random.Random(number)
    field = chance.choice(_FIELDS)
    journal = chance.choice(_JOURNALS).format(field)
    chosen = sorted(chance.sample(range(len(_SENTENCES)), chance.randint(4, 7)))
    days = chance.randint(4, 20)
    said = [_SENTENCES[n].format(field=field.lower(), journal=journal, days=days) for n in chosen]
    lines = (
        chance.choice(_SUBJECTS).format(journal),
        f"{chance.choice(_GREETINGS)},",
        *said,
        f"Regards, {chance.choice(_NAMES)}, editorial office",
    )
    return "\n".join(lines)
