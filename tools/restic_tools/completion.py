"""Completion of half-written command lines, and the scripts for the shells that ask for it.

The scripts are short: they call ``restic-format __complete WORD...`` with the words up to the cursor, the last one unfinished.
The answer is a candidate a line (a tab and a description may follow), then ``:4`` for "nothing else", or ``:0`` for
"file names".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from restic_tools.about import PROGRAM
from restic_tools.argv import Flag, FlagSet, UsageFailure, find_command, parse
from restic_tools.declare import Declaration
from restic_tools.globaloptions import GLOBAL_FLAGS
from restic_tools.registry import BY_PATH, is_known, names_below

ONLY_THESE, FILES = ":4", ":0"

Candidate = tuple[str, str]
"""A word and its description."""


def complete(words: Sequence[str], *, described: bool = True) -> str:
    """The answer for the words up to the cursor; the last of them is the one to complete."""
    candidates, directive = candidates_for(list(words[:-1]), words[-1] if words else "")
    lines = [f"{word}\t{text}" if described and text else word for word, text in candidates]
    return "".join(f"{line}\n" for line in [*lines, directive])


def candidates_for(before: list[str], last: str) -> tuple[list[Candidate], str]:
    """The candidates for ``last`` after the words ``before``, and whether file names are possible, too."""
    if "--" in before:
        return [], FILES
    path, rest = find_command(before, FlagSet(GLOBAL_FLAGS), is_known)
    declaration = _declaration(path)
    flags = FlagSet([*(declaration.flags if declaration else ()), *GLOBAL_FLAGS])
    waiting = _waiting_flag(before, flags)
    if waiting is not None:
        return _values(waiting, "", last)
    if last.startswith("--") and "=" in last:
        name, _, value = last[2:].partition("=")
        flag = flags.by_name.get(name)
        return _values(flag, f"--{name}=", value) if flag is not None else ([], FILES)
    if last.startswith("-"):
        shown = [(f"--{flag.name}", flag.help) for flag in flags.flags if not flag.hidden]
        return _matching([*shown, ("--help", "help for this command")], last), ONLY_THESE
    if path not in BY_PATH:
        return (_matching(_command_names(path), last) if _only_values(rest) else []), ONLY_THESE
    if path == ("help",):
        return _help_topics(before, last)
    if (names := names_below(path)) and not rest:
        return _matching(sorted(names.items()), last), FILES
    values = declaration.arguments[0].values if declaration and declaration.arguments else ()
    listed = _matching([(word, "") for word in values], last)
    return (listed, ONLY_THESE) if listed else ([], FILES)


def _only_values(rest: list[str]) -> bool:
    """Whether all words are flags or values of flags, none an unknown command."""
    try:
        return not parse(rest, FlagSet(GLOBAL_FLAGS)).arguments
    except UsageFailure:
        return False


def _declaration(path: tuple[str, ...]) -> Declaration | None:
    if path not in BY_PATH:
        return None
    from restic_tools.cli import load

    return load(BY_PATH[path])


def _waiting_flag(before: list[str], flags: FlagSet) -> Flag | None:
    """The flag whose value comes next, if the last word before the cursor is one."""
    word = before[-1] if before else ""
    if word.startswith("--") and "=" not in word:
        flag = flags.by_name.get(word[2:])
    elif len(word) > 1 and word[0] == "-" and word[1] != "-":
        flag = flags.by_short.get(word[-1])
    else:
        flag = None
    return flag if flag is not None and flag.takes_value else None


def _values(flag: Flag, prefix: str, begun: str) -> tuple[list[Candidate], str]:
    if not flag.values:
        return [], FILES
    return [(prefix + value, "") for value in flag.values if value.startswith(begun)], ONLY_THESE


def _command_names(path: tuple[str, ...]) -> list[Candidate]:
    return sorted(names_below(path).items())


def _help_topics(before: list[str], last: str) -> tuple[list[Candidate], str]:
    topic = tuple(before[before.index("help") + 1 :])
    return (_matching(_command_names(topic), last) if not topic or topic not in BY_PATH else []), ONLY_THESE


def _matching(candidates: Iterable[Candidate], begun: str) -> list[Candidate]:
    return [candidate for candidate in candidates if candidate[0].startswith(begun)]


BASH = f"""\
# bash completion for {PROGRAM}

_restic_format()
{{
    local cur words cword line answer directive=:0
    if declare -F _get_comp_words_by_ref >/dev/null; then
        _get_comp_words_by_ref -n "=:" cur words cword
    else
        words=("${{COMP_WORDS[@]}}") cword=$COMP_CWORD cur=${{COMP_WORDS[COMP_CWORD]}}
    fi
    COMPREPLY=()
    answer=$("${{words[0]}}" __completeNoDesc "${{words[@]:1:cword}}" 2>/dev/null) || return 0
    # Readline replaces only what follows the last separator.
    local skip=""
    [[ $cur == *=* && $COMP_WORDBREAKS == *=* ]] && skip=${{cur%%=*}}=
    while IFS= read -r line; do
        case $line in
            :*) directive=$line ;;
            *) COMPREPLY+=("${{line#"$skip"}}") ;;
        esac
    done <<<"$answer"
    if [[ $directive == :0 && ${{#COMPREPLY[@]}} -eq 0 ]]; then
        compopt -o filenames 2>/dev/null
        while IFS= read -r line; do
            COMPREPLY+=("$line")
        done < <(compgen -f -- "${{cur#"$skip"}}")
    fi
}}

complete -F _restic_format {PROGRAM}
"""

ZSH = f"""\
#compdef {PROGRAM}

# zsh completion for {PROGRAM}

_restic_format()
{{
    local line directive=:0
    local -a answer candidates
    answer=("${{(@f)$("${{words[1]}}" __complete "${{(@)words[2,CURRENT]}}" 2>/dev/null)}}")
    for line in $answer; do
        if [[ $line == :* ]]; then
            directive=$line
        else
            line=${{line//:/\\\\:}}
            candidates+=("${{line/$'\\t'/:}}")
        fi
    done
    if (( ${{#candidates}} )); then
        _describe '{PROGRAM}' candidates
    elif [[ $directive == :0 ]]; then
        [[ $PREFIX == --*=* ]] && compset -P '*='
        _files
    fi
}}

if [[ $funcstack[1] == _restic_format ]]; then
    _restic_format "$@"
else
    compdef _restic_format {PROGRAM}
fi
"""

FISH = f"""\
# fish completion for {PROGRAM}

function __restic_format_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l answer ($words[1] __complete $words[2..-1] 2>/dev/null)
    set -l directive $answer[-1]
    if test (count $answer) -gt 1
        printf '%s\\n' $answer[1..-2]
    else if test "$directive" = :0
        __fish_complete_path (commandline -ct)
    end
end

complete -c {PROGRAM} -e
complete -c {PROGRAM} -f -a '(__restic_format_complete)'
"""

POWERSHELL = f"""\
# powershell completion for {PROGRAM}

Register-ArgumentCompleter -Native -CommandName '{PROGRAM}' -ScriptBlock {{
    param($word, $ast, $position)
    $words = @($ast.CommandElements | Where-Object {{ $_.Extent.EndOffset -lt $position }} | ForEach-Object {{ $_.ToString() }})
    $rest = @($words | Select-Object -Skip 1) + @("$word")
    & $words[0] __complete @rest 2>$null | Where-Object {{ $_ -notlike ':*' }} | ForEach-Object {{
        $name, $text = $_ -split "`t", 2
        if (-not $text) {{ $text = $name }}
        [System.Management.Automation.CompletionResult]::new($name, $name, 'ParameterValue', $text)
    }}
}}
"""

SCRIPTS = {"bash": BASH, "fish": FISH, "zsh": ZSH, "powershell": POWERSHELL}
