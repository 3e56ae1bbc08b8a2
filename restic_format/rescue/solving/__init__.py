"""Damage solved through the MAC: sealed messages, packs and key files of which a few bytes are wrong (SOLVE clauses).

`solve_message` tries the shapes of damage one after the other, the likely and cheap ones first, until a judge accepts what
comes of it or time is up. `solve_pack` and `solve_key` do the same for whole files. Nothing is read or written here.
"""

from restic_format.rescue.solving.clock import Clock, OutOfTime
from restic_format.rescue.solving.ends import with_end, without_more
from restic_format.rescue.solving.judges import ContentJudge, DocumentJudge, FileJudge, Judge
from restic_format.rescue.solving.keyfiles import solve_key
from restic_format.rescue.solving.message import ROUNDS, Effort, Message, Solution, solve_message
from restic_format.rescue.solving.packs import solve_pack

__all__ = [
    "ROUNDS",
    "Clock",
    "ContentJudge",
    "DocumentJudge",
    "Effort",
    "FileJudge",
    "Judge",
    "Message",
    "OutOfTime",
    "Solution",
    "solve_key",
    "solve_message",
    "solve_pack",
    "with_end",
    "without_more",
]
