# bash completion for kubectl-kubedr
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
