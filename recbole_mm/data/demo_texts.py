"""The texts of the demo shop's items, which have many words for every material and use."""

import numpy as np

# Each value's words for a title, and its phrases for a description; alternatives are separated by |.
MATERIALS: dict[str, tuple[str, str]] = {
    "linen": ("linen|flax|French linen|washed linen", "spun from long flax fibres|in crisp linen|with a slubby linen weave"),
    "leather": ("leather|full-grain leather|suede|nappa", "cut from slow-cured hide|in supple leather|with a brushed suede hand"),
    "wool": ("wool|merino|lambswool|worsted wool", "knitted from fine merino|in thick boiled wool|with a lambswool fleece"),
    "silk": ("silk|raw silk|satin|silk charmeuse", "reeled from long silk filament|in fluid satin|with the drape of washed silk"),
    "cork": ("cork|pressed cork|cork-oak|fine cork", "peeled from cork-oak bark|in featherlight cork|with a grainy cork finish"),
    "bamboo": ("bamboo|bamboo lyocell|cane|split cane", "grown as fast bamboo|in airy bamboo lyocell|with a split-cane finish"),
}
USES: dict[str, tuple[str, str]] = {
    "hiking": ("trail|summit|hiking|backcountry", "for long hikes|ready for the next summit|made for trekking a mountain trail"),
    "office": ("office|boardroom|workday|desk", "for back-to-back meetings|ready for the boardroom|made for office weekdays"),
    "party": ("party|festive|gala|cocktail", "for dancing until late|ready for toasts and cocktails|made for celebrations"),
    "travel": ("travel|voyager|jet-set|holiday", "for far-off hotels|ready for new cities|made to live out of a suitcase"),
}
BRANDS = "Northfold|Ostra & Vale|Maison Perrin|Halden|Juniper Row|Tidewater|Kestrel|Studio Amari"
NOUNS = "piece|essential|favourite|staple|companion|classic|find"
MOODS = "modern|signature|handmade|daily|timeless|limited|well-made|new-season"
TITLES = (
    "{brand} {use} {noun} in {material}|The {mood} {material} {use} {noun}|{brand} {mood} {use} {noun}|"
    "{material} {noun} by {brand}|{mood} {material} {use} {noun}|{brand} {material} {noun}, {use} edition"
)
DESCRIPTIONS = (
    "A {mood} {noun} {made}, {purpose}.|From {brand}, {made}. This {noun} is {purpose}.|"
    "This {noun} is {purpose}. It comes {made}.|Our {mood} {noun} comes {made} and is {purpose}.|"
    "Designed by {brand}, {purpose}: a {mood} {noun} {made}."
)
EXTRAS = (
    "||Wipe with a damp cloth.|Hand care only.|Available in sizes S to XL.|One size.|Runs slightly small.|"
    "Free returns within 30 days.|Keep away from direct heat.|Ships in a recycled box."
)

Factors = dict[str, str]


def describe(rng: np.random.Generator, item: Factors) -> tuple[str, str]:
    """A title and a description that tell the material and the use, and nothing about the looks."""

    def pick(alternatives: str) -> str:
        return str(rng.choice(alternatives.split("|")))

    names, made = MATERIALS[item["material"]]
    uses, purposes = USES[item["use"]]
    common = {"brand": pick(BRANDS), "noun": pick(NOUNS)}
    title = pick(TITLES).format(material=pick(names), use=pick(uses), mood=pick(MOODS), **common)
    body = pick(DESCRIPTIONS).format(made=pick(made), purpose=pick(purposes), mood=pick(MOODS), **common)
    return title[0].upper() + title[1:], f"{body} {pick(EXTRAS)}".strip()
