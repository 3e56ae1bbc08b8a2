"""``features``: print the feature flags."""

from __future__ import annotations

from typing import Annotated

from restic_tools.context import Context
from restic_tools.declare import Argument
from restic_tools.exitcodes import Failure
from restic_tools.features import FEATURES, feature_flags
from restic_tools.messages import encode_message
from restic_tools.messages.features import FeatureFlag
from restic_tools.render import Table


def features(ctx: Context, words: Annotated[list[str], Argument(metavar="")]) -> None:
    """Print the feature flags

    Flags are set with the environment variable RESTIC_FEATURES, as in "featureA=true,featureB=false"; one that does not exist
    is an error.

    An alpha feature is off by default and may change or go with any version. A beta feature is on by default and may still
    change. A stable feature is always on; its flag will go.
    """
    if words:
        raise Failure("the feature command expects no arguments")
    if ctx.options.json:
        now = feature_flags()
        listed = [FeatureFlag(item.name, item.stage, item.default, now[item.name], item.summary) for item in FEATURES]
        ctx.out.write(encode_message(listed) + b"\n")
        return
    table = Table(["Name", "Type", "Default", "Description"])
    for feature in FEATURES:
        table.add([feature.name, feature.stage, str(feature.default).lower(), feature.summary])
    ctx.out.line("All Feature Flags:")
    ctx.out.line(table.text().rstrip("\n"), block=True)
