"""What instruments can play: the sounding range of each General MIDI program, lowest and highest MIDI pitch.

Usual ranges of professional players, as orchestration manuals give them (for instance Adler, The Study of
Orchestration), rounded where these differ; families without such limits, as synthesizers, have the piano's.
"""

from collections.abc import Mapping

PIANO = (21, 108)

# Instruments that have limits of their own, by program.
_RANGES: Mapping[int, tuple[int, int]] = {
    6: (29, 89),  # harpsichord
    7: (29, 89),  # clavinet
    8: (60, 108),  # celesta
    9: (79, 108),  # glockenspiel
    10: (60, 96),  # music box
    11: (53, 89),  # vibraphone
    12: (45, 96),  # marimba
    13: (65, 108),  # xylophone
    14: (60, 77),  # tubular bells
    15: (55, 96),  # dulcimer
    **dict.fromkeys(range(16, 21), (36, 96)),  # organs
    21: (41, 93),  # accordion
    22: (60, 96),  # harmonica
    23: (41, 93),  # bandoneon
    **dict.fromkeys(range(24, 32), (40, 88)),  # guitars
    **dict.fromkeys(range(32, 40), (28, 67)),  # basses
    40: (55, 103),  # violin
    41: (48, 91),  # viola
    42: (36, 84),  # cello
    43: (28, 67),  # contrabass
    44: (28, 103),  # strings together
    45: (28, 103),
    46: (24, 103),  # harp
    47: (38, 57),  # timpani
    **dict.fromkeys(range(48, 52), (28, 103)),
    **dict.fromkeys(range(52, 55), (40, 84)),  # voices
    56: (54, 84),  # trumpet
    57: (40, 77),  # trombone
    58: (26, 65),  # tuba
    59: (54, 84),  # muted trumpet
    60: (35, 77),  # French horn
    61: (35, 84),  # brass together
    64: (56, 88),  # soprano saxophone
    65: (49, 81),  # alto
    66: (44, 76),  # tenor
    67: (36, 69),  # baritone
    68: (58, 93),  # oboe
    69: (52, 84),  # English horn
    70: (34, 75),  # bassoon
    71: (50, 94),  # clarinet
    72: (74, 108),  # piccolo
    73: (60, 98),  # flute
    74: (60, 98),  # recorder
    75: (60, 98),  # pan flute
    76: (48, 84),  # blown bottle
    77: (53, 94),  # shakuhachi
    78: (60, 98),  # whistle
    79: (60, 89),  # ocarina
    104: (48, 88),  # sitar
    105: (48, 88),  # banjo
    106: (50, 88),  # shamisen
    107: (43, 86),  # koto
    108: (60, 96),  # kalimba
    109: (53, 81),  # bagpipe
    110: (55, 103),  # fiddle
    111: (58, 84),  # shanai
}


def playable_range(program: int) -> tuple[int, int]:
    """The lowest and the highest pitch of a General MIDI program (0 to 127)."""
    return _RANGES.get(program, PIANO)
