# fish completion for kubectl-kubedr
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
