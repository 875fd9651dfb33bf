#include "cmd/manual.h"

#include <fmt/core.h>

#include <array>
#include <cctype>
#include <set>
#include <string_view>

#include "base/text.h"
#include "cmd/tree.h"
#include "version.h"

namespace kubedr::cmd {
namespace {

constexpr char kProgram[] = "kubectl-kubedr";
constexpr char kExitCodes[] = "Exit codes: ";
constexpr std::size_t kWidth = 76;

struct Entry {
  const char* name;
  const char* text;
};

constexpr std::array kModes = {
    Entry{"cluster",
          "The default: resources and Secrets come from the API server, by kubectl's "
          "rules for the kubeconfig, or in a pod by its service account."},
    Entry{"manifests",
          "With -f, the same resources and Secrets are read from YAML files. No API "
          "server is contacted; what would be written there is reported."},
    Entry{"bare",
          "With --repo, there is nothing but a repository, and restic's environment "
          "variables: for the day when only the bucket is left."},
};

constexpr std::array kEnvironment = {
    Entry{"KUBECONFIG", "Kubeconfig files, as kubectl reads them."},
    Entry{
        "KUBERC , KUBECTL_KUBERC",
        "The kuberc file, and \"false\" for none, as kubectl reads them: it says which credential "
        "plugins may run."},
    Entry{"KUBERNETES_SERVICE_HOST , KUBERNETES_SERVICE_PORT",
          "Set in a pod, which needs no kubeconfig: its service account is used."},
    Entry{"KUBEDR_NAMESPACE", "Namespace of the resources, instead of kubedr-system."},
    Entry{"ETCDCTL_ENDPOINTS , ETCDCTL_CACERT , ETCDCTL_CERT , ETCDCTL_KEY",
          "As etcdctl reads them; they win over the policy, flags over them."},
    Entry{"RESTIC_PASSWORD , RESTIC_PASSWORD_FILE",
          "Password of the repository that --repo names."},
    Entry{"AWS_ACCESS_KEY_ID , AWS_SECRET_ACCESS_KEY , AWS_SESSION_TOKEN , AWS_DEFAULT_REGION",
          "Keys and region for --repo."},
    Entry{"RESTIC_CACERT , AWS_CA_BUNDLE",
          "File with the certificate authorities of the S3 endpoint that --repo names."},
    Entry{"SSL_CERT_FILE , SSL_CERT_DIR",
          "As kubectl and restic read them: a file of certificate authorities, and folders of "
          "them, in place of the system's, where no other is named."},
    Entry{"HTTPS_PROXY , HTTP_PROXY , NO_PROXY",
          "As kubectl and restic read them, in capitals or not: the way to the API server and to "
          "S3. A proxy-url of the kubeconfig wins."},
    Entry{"MY_POD_NAME",
          "Set in pods of the operator and of a schedule: the name that a backup's status shows."},
    Entry{"KDR_POLICY_NAME , KDR_BACKUPLOC_NAME , KDR_MR_NAME , KDR_RESTORE_DEST , RESTIC_REPO",
          "Set in the same pods: what backup, init and restore are about where no argument "
          "says so."},
    Entry{"NO_COLOR", "Set to anything: no colours."},
    Entry{"TMPDIR", "Where sealed data waits for a slow S3, in a file without a name."},
    Entry{"XDG_CACHE_HOME", "Where the cache is, instead of ~/.cache."},
};

constexpr std::array kExits = {
    Entry{"0", "Done."},
    Entry{"1", "Failed, anything not below."},
    Entry{"2",
          "Usage: flags, kubeconfig, a malformed resource, an ambiguous name, another "
          "cluster's etcd."},
    Entry{"3",
          "The backup is safe, a later step (record, status, event, retention) is not; each "
          "is named with its remedy."},
    Entry{"4", "The named thing does not exist."},
    Entry{"5", "Findings of severity error, or damage."},
    Entry{"10", "There is no repository."},
    Entry{"11", "The repository is locked."},
    Entry{"12", "The repository's password is wrong."},
    Entry{"20", "Unavailable after retries."},
    Entry{"21", "Denied."},
    Entry{"22", "The data is corrupt."},
    Entry{"130 , 143", "Interrupted, terminated, before the backup was safe."},
};

// A character that mdoc would read as its own, or print as another.
std::string escaped(char c) {
  switch (c) {
  case '\\':
    return "\\e";
  case '\'':
    return "\\(aq";
  case '`':
    return "\\(ga";
  case '^':
    return "\\(ha";
  case '~':
    return "\\(ti";
  case '-':
    return "\\-";
  default:
    return {c};
  }
}

// A line as it is typed.
std::string literal(const std::string& line) {
  std::string text = line.starts_with('.') ? "\\&" : "";
  for (const char c : line) text += escaped(c);
  return text;
}

// A word of prose: hyphens stay hyphens unless they begin a flag.
std::string prose_word(const std::string& word) {
  if (word.starts_with('-')) return literal(word);
  std::string text = word.starts_with('.') ? "\\&" : "";
  for (const char c : word) text += c == '-' ? "-" : escaped(c);
  return text;
}

bool ends_sentence(const std::string& word) {
  return word.ends_with('.') || word.ends_with('!') || word.ends_with('?');
}

// Prose for mdoc: filled lines, and each sentence on a line of its own.
std::string prose(const std::string& text) {
  std::string lines;
  std::string line;
  const auto flush = [&] {
    if (!line.empty()) lines += line + "\n";
    line.clear();
  };
  for (const std::string& word : split(text, ' ')) {
    if (word.empty()) continue;
    std::string shown = prose_word(word);
    const bool abbreviated = word == "e.g.";
    if (abbreviated) shown += "\\&";
    if (line.size() + 1 + shown.size() > kWidth) flush();
    line += (line.empty() ? "" : " ") + shown;
    if (ends_sentence(word) && !abbreviated) flush();
  }
  flush();
  return lines;
}

// A description from the tree as a sentence.
std::string sentence(const std::string& text) {
  return prose(ends_sentence(text) ? text : text + ".");
}

std::string page_name(const CLI::App& verb) {
  std::string path = path_of(verb);
  for (char& c : path) c = c == ' ' ? '-' : c;
  return path.empty() ? kProgram : std::string(kProgram) + "-" + path;
}

// "Take a backup now" as a title has it.
std::string lower_first(std::string text) {
  const bool is_word = text.size() > 1 && std::islower(static_cast<unsigned char>(text[1])) != 0;
  if (is_word) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

std::string head(const std::string& name, const std::string& title) {
  std::string upper = name;
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return fmt::format(
      ".\\\" Made from the program's own verbs and flags: see CONTRIBUTING.md.\n"
      ".Dd {}\n.Dt {} 1\n.Os\n.Sh NAME\n.Nm {}\n.Nd {}\n",
      kReleaseDate, upper, name, lower_first(title));
}

std::string synopsis(const CLI::App& verb) {
  std::string text = fmt::format(".Nm kubectl kubedr {}\n", path_of(verb));
  for (const CLI::Option* option : positionals_of(verb)) {
    const std::string argument =
        fmt::format("Ar {}{}", option->get_name(true), may_repeat(*option) ? " ..." : "");
    text += (option->get_required() ? "." : ".Op ") + argument + "\n";
  }
  return text + ".Op Ar flags\n";
}

std::string arguments(const CLI::App& verb) {
  const auto positionals = positionals_of(verb);
  if (positionals.empty()) return "";
  std::string text = ".Bl -tag -width Ds\n";
  for (const CLI::Option* option : positionals) {
    text +=
        fmt::format(".It Ar {}\n{}", option->get_name(true), sentence(option->get_description()));
  }
  return text + ".El\n";
}

std::string flag_item(const CLI::Option& flag) {
  std::string names;
  const std::string value = value_text(flag);
  for (const std::string& name : names_of(flag)) {
    names += names.empty() ? "" : " , ";
    names += name.starts_with("--") ? "Fl Fl " + name.substr(2) : "Fl " + name.substr(1);
    if (!value.empty()) names += " Ar " + value;
  }
  return fmt::format(".It {}\n{}", names, sentence(flag.get_description()));
}

std::string flags_of_group(const CLI::App& verb, const std::string& group) {
  std::string text;
  for (const CLI::Option* flag : flags_of(verb)) {
    const bool is_common = flag == verb.get_help_ptr() && verb.get_parent() != nullptr;
    if (flag->get_group() == group && !is_common) text += flag_item(*flag);
  }
  return text.empty() ? "" : ".Bl -tag -width Ds\n" + text + ".El\n";
}

// The verb's own flags, group by group.
std::string own_flags(const CLI::App& verb, const char* heading) {
  std::string text;
  for (const std::string& group : verb.get_groups()) {
    const std::string list = flags_of_group(verb, group);
    if (group.empty() || list.empty()) continue;
    if (group != "Options") text += fmt::format("{} {}\n", heading, group);
    text += list;
  }
  return text;
}

std::string examples(const std::vector<std::string>& lines) {
  if (lines.empty()) return "";
  std::string text = ".Sh EXAMPLES\n.Bd -literal -offset indent\n";
  for (const std::string& line : lines) text += literal(line) + "\n";
  return text + ".Ed\n";
}

// What the verb prints, behind its examples.
std::string session(const Sessions& sessions, const CLI::App& verb) {
  const auto found = sessions.find(path_of(verb));
  if (found == sessions.end()) return "";
  std::string text = ".Pp\nWhat a run of it showed:\n.Bd -literal\n";
  for (const std::string& line : split(std::string(trim(found->second)), '\n')) {
    text += literal(line) + "\n";
  }
  return text + ".Ed\n";
}

std::string paragraphs(const Footer& footer) {
  std::string text;
  for (const std::string& paragraph : footer.paragraphs) {
    if (!paragraph.starts_with(kExitCodes)) text += ".Pp\n" + prose(paragraph);
  }
  return text;
}

std::string exits(const Footer& footer) {
  for (const std::string& paragraph : footer.paragraphs) {
    if (!paragraph.starts_with(kExitCodes)) continue;
    return ".Sh EXIT STATUS\n" + sentence(paragraph.substr(std::string_view(kExitCodes).size()));
  }
  return "";
}

template <std::size_t n>
std::string tagged(const std::array<Entry, n>& entries, const char* macro) {
  std::string text = ".Bl -tag -width Ds\n";
  for (const Entry& entry : entries) {
    text += fmt::format(".It {} {}\n{}", macro, entry.name, prose(entry.text));
  }
  return text + ".El\n";
}

std::string verb_page(const CLI::App& verb, const Sessions& sessions) {
  const Footer footer = footer_of(verb);
  std::string text = head(page_name(verb), verb.get_description()) + ".Sh SYNOPSIS\n";
  const auto below = verbs_of(verb);
  for (const CLI::App* one : below) text += synopsis(*one);
  if (below.empty()) text += synopsis(verb);
  text +=
      ".Sh DESCRIPTION\n" + sentence(verb.get_description()) + arguments(verb) + paragraphs(footer);
  std::vector<std::string> lines = below.empty() ? footer.examples : std::vector<std::string>();
  for (const CLI::App* one : below) {
    const Footer its = footer_of(*one);
    text += fmt::format(".Ss {}\n", path_of(*one)) + sentence(one->get_description()) +
            arguments(*one) + paragraphs(its) + own_flags(*one, ".Pp\n");
    lines.insert(lines.end(), its.examples.begin(), its.examples.end());
  }
  text += ".Sh OPTIONS\n";
  if (const std::string own = own_flags(verb, ".Ss"); !own.empty()) text += own + ".Pp\n";
  text += fmt::format("The flags that every verb takes are described in\n.Xr {} 1 .\n", kProgram);
  return text + exits(footer) + examples(lines) + session(sessions, verb) +
         fmt::format(".Sh SEE ALSO\n.Xr {} 1\n", kProgram);
}

std::string verbs_list(const CLI::App& root) {
  std::string text = ".Bl -tag -width Ds\n";
  for (const CLI::App* verb : verbs_of(root)) {
    text += fmt::format(".It Xr {} 1\n{}", page_name(*verb), sentence(verb->get_description()));
  }
  return text + ".El\n";
}

std::string overview(const CLI::App& root) {
  std::string text = head(kProgram, "back up etcd and a control plane's certificates");
  text += ".Sh SYNOPSIS\n.Nm kubectl kubedr\n.Ar VERB\n.Op Ar NAME\n.Op Ar flags\n";
  std::string description = root.get_description();
  for (char& c : description) c = c == '\n' ? ' ' : c;
  text += ".Sh DESCRIPTION\n" + sentence(description) + ".Pp\n";
  text += prose(
      "What it calls a backup can be restored: etcd's own digest of the database is "
      "compared before the snapshot counts. The repository is an ordinary restic "
      "repository.");
  text += ".Ss Verbs\n" + verbs_list(root);
  text += ".Ss Where things are\n" +
          prose("Every verb works in three modes, as far as that makes sense for it:") +
          tagged(kModes, "Em");
  text += ".Ss Output\n" +
          prose(
              "Results go to standard output, everything else to standard error. With -o json "
              "the result is one document, and a failure one JSON object, the last line of "
              "standard error.");
  text += ".Sh OPTIONS\n" +
          prose("These may stand before or behind a verb. Each verb's page has its own.") +
          own_flags(root, ".Ss");
  text += ".Sh ENVIRONMENT\n" + tagged(kEnvironment, "Ev");
  text += ".Sh FILES\n.Bl -tag -width Ds\n.It Pa ~/.cache/kubedr\n" +
          prose(
              "Copies of indexes, snapshots and packs of trees, sealed as they are stored. May "
              "be deleted at any time.") +
          ".El\n";
  text += ".Sh EXIT STATUS\n" + tagged(kExits, "Li");
  text += examples(footer_of(root).examples);
  std::set<std::string> pages;
  for (const CLI::App* verb : verbs_of(root)) pages.insert(page_name(*verb));
  text += ".Sh SEE ALSO\n";
  for (const std::string& page : pages) {
    text += fmt::format(".Xr {} 1{}\n", page, page == *pages.rbegin() ? "" : " ,");
  }
  return text;
}

}  // namespace

std::vector<ManualPage> manual_pages(const CLI::App& root, const Sessions& sessions) {
  std::vector<ManualPage> pages{{std::string(kProgram) + ".1", overview(root)}};
  for (const CLI::App* verb : verbs_of(root)) {
    pages.push_back({page_name(*verb) + ".1", verb_page(*verb, sessions)});
  }
  return pages;
}

}  // namespace kubedr::cmd
