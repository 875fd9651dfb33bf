#include "cmd/shells.h"

namespace kubedr::cmd {
namespace {

// The line is split at blanks, not as Bash does it, which makes three words of --output=json.
constexpr char kBash[] = R"sh(# bash completion for kubectl-kubedr
# Load it with:  source <(kubectl-kubedr completion bash)
# shellcheck shell=bash

_kubectl_kubedr() {
  local current=${COMP_WORDS[COMP_CWORD]} line=${COMP_LINE:0:COMP_POINT} prefix="" answer directive choice
  local -a words=()
  COMPREPLY=()
  read -ra words <<<"$line"
  [[ $line != *[[:space:]] ]] || words+=("")
  while ((${#words[@]})) && [[ ${words[0]} != "${COMP_WORDS[0]}" ]]; do words=("${words[@]:1}"); done
  answer=$("${COMP_WORDS[0]/#\~\//$HOME/}" __complete "${words[@]:1}" 2>/dev/null) || return
  directive=${answer##*:}
  # A candidate for the value of --flag=value stands where Bash thinks the word begins.
  [[ $current != *=* || $COMP_WORDBREAKS == *=* ]] || prefix=${current%%=*}=
  while IFS= read -r choice; do
    choice=${choice%%$'\t'*}
    [[ -z $choice ]] || COMPREPLY+=("$prefix$choice")
  done <<<"${answer%:*}"
  ((!(directive & 2))) || compopt -o nospace
  ((!(directive & 32))) || compopt -o nosort
  if ((directive & 16)); then
    compopt -o dirnames
  elif ((!(directive & 4))); then
    compopt -o default
  fi
}

complete -F _kubectl_kubedr kubectl-kubedr
)sh";

constexpr char kZsh[] = R"sh(#compdef kubectl-kubedr
# zsh completion for kubectl-kubedr
# Put it into a folder of $fpath as _kubectl-kubedr, or load it with:
#   source <(kubectl-kubedr completion zsh)

_kubectl-kubedr() {
  local answer directive line choice about
  local -a candidates options
  answer=$(${~words[1]} __complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null) || return 1
  directive=${answer##*:}
  for line in "${(@f)${answer%:*}}"; do
    choice=${line%%$'\t'*}
    [[ -n $choice ]] || continue
    about=""
    [[ $line != *$'\t'* ]] || about=":${line#*$'\t'}"
    candidates+=("${choice//:/\\:}$about")
  done
  [[ $PREFIX != -*=* ]] || compset -P '*='
  (( ! (directive & 2) )) || options+=(-S '')
  (( ! (directive & 32) )) || options+=(-V kubedr)
  if (( directive & 16 )); then
    _files -/
  elif (( ${#candidates} )); then
    _describe -t candidates kubedr candidates "${options[@]}"
  elif (( ! (directive & 4) )); then
    _files
  fi
}

# Called by the completion system where this file is one of $fpath; else it is only made known.
if [[ ${funcstack[1]} == _kubectl-kubedr ]]; then
  _kubectl-kubedr "$@"
else
  compdef _kubectl-kubedr kubectl-kubedr
fi
)sh";

constexpr char kFish[] = R"sh(# fish completion for kubectl-kubedr
# Load it with:  kubectl-kubedr completion fish | source

function __kubectl_kubedr_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    set -l answer ($program __complete $words[2..-1] "$current" 2>/dev/null)
    or return
    set -l directive (string replace ':' '' -- $answer[-1])
    # Candidates for the value of --flag=value; fish wants whole words.
    set -l prefix (string match -r -- '^-[^=]*=' "$current")
    for candidate in $answer[1..-2]
        echo "$prefix$candidate"
    end
    if test (math "bitand($directive, 16)") -ne 0
        __fish_complete_directories "$current" ""
    else if test (math "bitand($directive, 4)") -eq 0
        __fish_complete_path "$current"
    end
end

complete -c kubectl-kubedr -e
complete -c kubectl-kubedr -k -f -a '(__kubectl_kubedr_complete)'
)sh";

constexpr char kKubectl[] = R"sh(#!/bin/sh
# kubectl calls this for `kubectl kubedr <TAB>`: install it as kubectl_complete-kubedr, executable,
# in a folder of $PATH, beside kubectl-kubedr.
exec kubectl-kubedr __complete "$@"
)sh";

}  // namespace

const std::vector<ShellScript>& shell_scripts() {
  static const std::vector<ShellScript> scripts = {
      {"bash", "kubectl-kubedr.bash", kBash},
      {"zsh", "_kubectl-kubedr", kZsh},
      {"fish", "kubectl-kubedr.fish", kFish},
      {"kubectl", "kubectl_complete-kubedr", kKubectl},
  };
  return scripts;
}

}  // namespace kubedr::cmd
