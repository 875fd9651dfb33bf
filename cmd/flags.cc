#include "cmd/flags.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <string_view>

#include "base/text.h"
#include "base/time.h"
#include "cmd/line.h"
#include "cmd/tree.h"

namespace kubedr::cmd {
namespace {

// Usage lines begin with what a kubectl user types.
class Help final : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string /*name*/) const override {
    if (app->get_parent() == nullptr) return "\nUsage:\n  kubectl kubedr VERB [NAME] [flags]\n";
    return "\nUsage:\n  kubectl kubedr " + usage_of(*app) + "\n";
  }

  std::string make_option_name(const CLI::Option* option, bool is_positional) const override {
    return is_positional ? option->get_name(true) : join(names_of(*option), ",");
  }

  std::string make_option_opts(const CLI::Option* option) const override {
    const std::string value = option->get_positional() ? "" : value_text(*option);
    return value.empty() ? "" : " " + value;
  }
};

void add_server_flags(CLI::App& root, Flags& flags) {
  kube::Flags& kube = flags.kube;
  root.add_option("--kubeconfig", kube.kubeconfig, "Path of the kubeconfig file")
      ->type_name("FILE")
      ->group(kServer);
  root.add_option("--kuberc", kube.kuberc,
                  "Path of kubectl's preferences, which say what credential plugins may run")
      ->type_name("FILE")
      ->group(kServer);
  root.add_option("--context", kube.context, "Name of the kubeconfig context")->group(kServer);
  root.add_option("--cluster", kube.cluster, "Name of the kubeconfig cluster")->group(kServer);
  root.add_option("--user", kube.user, "Name of the kubeconfig user")->group(kServer);
  root.add_option("-s,--server", kube.server, "Address of the API server")->group(kServer);
  root.add_option("--token", flags.token, "Bearer token")->group(kServer);
  root.add_option("--username", kube.username, "User name for basic authentication")
      ->group(kServer);
  root.add_option("--password", flags.password, "Password for basic authentication")
      ->group(kServer);
  root.add_option("--as", kube.as, "User to impersonate")->type_name("NAME")->group(kServer);
  root.add_option("--as-uid", kube.as_uid, "UID to impersonate")->group(kServer);
  root.add_option("--as-group", kube.as_groups, "Group to impersonate; may be repeated")
      ->take_all()
      ->expected(1)
      ->group(kServer);
  root.add_option("--as-user-extra", kube.as_user_extra,
                  "Extra of the user to impersonate, KEY=VALUE; may be repeated")
      ->take_all()
      ->expected(1)
      ->group(kServer);
  root.add_option("--certificate-authority", kube.certificate_authority,
                  "File with the API server's certificate authority")
      ->type_name("FILE")
      ->group(kServer);
  root.add_option("--client-certificate", kube.client_certificate,
                  "File with the client certificate")
      ->type_name("FILE")
      ->group(kServer);
  root.add_option("--client-key", kube.client_key, "File with the client key")
      ->type_name("FILE")
      ->group(kServer);
  root.add_option("--tls-server-name", kube.tls_server_name,
                  "Name to check the API server's certificate against")
      ->group(kServer);
  root.add_flag("--insecure-skip-tls-verify", kube.insecure_skip_tls_verify,
                "Do not check the API server's certificate")
      ->group(kServer);
  root.add_flag("--disable-compression", kube.disable_compression,
                "Ask the API server for answers that are not compressed")
      ->group(kServer);
  root.add_option("--request-timeout", flags.request_timeout,
                  "How long a single API request may take, e.g. 30s; 0 is no limit")
      ->group(kServer);
}

void add_place_flags(CLI::App& root, Flags& flags) {
  root.add_option("-n,--namespace", flags.name_space,
                  "Namespace of the resources (KUBEDR_NAMESPACE, else kubedr-system)")
      ->group(kWhere);
  root.add_flag("-A,--all-namespaces", flags.all_namespaces, "All namespaces (status)")
      ->group(kWhere);
  root.add_option("-f,--filename", flags.manifests,
                  "Read the resources and Secrets from a YAML file or folder, not from a cluster")
      ->type_name("FILE")
      ->take_all()
      ->expected(1)
      ->group(kWhere);
  root.add_option("-r,--repo", flags.repo,
                  "Work on this repository alone, with restic's environment variables: "
                  "s3:http://host:9000/bucket or /path")
      ->group(kWhere);
  root.add_flag("--no-cache", flags.no_cache,
                "Keep no copies of indexes and snapshots in ~/.cache/kubedr")
      ->group(kWhere);
  root.add_flag("--no-lock", flags.no_lock,
                "Lock nothing where a verb only reads, as with keys that may not write")
      ->group(kWhere);
  root.add_option("--retry-lock", flags.retry_lock,
                  "How long to wait for somebody else's lock on the repository, 10m by default")
      ->group(kWhere);
}

void add_output_flags(CLI::App& root, Flags& flags) {
  root.add_option("-o,--output", flags.output, "table, wide, json, yaml or name")
      ->check(CLI::IsMember({"table", "wide", "json", "yaml", "name"}))
      ->group(kOutput);
  root.add_flag("--no-headers", flags.no_headers, "No header line in tables")->group(kOutput);
  root.add_flag("-q,--quiet", flags.quiet, "No progress and no warnings")->group(kOutput);
  root.add_option("--progress", flags.progress,
                  "How far long work is: auto (on a terminal, and now and then in a log), json (an "
                  "object a second, to stderr) or none")
      ->check(CLI::IsMember({"auto", "json", "none"}))
      ->group(kOutput);
  root.add_option("--v", flags.verbosity, "More log lines: -v steps, -vv requests")
      ->type_name("LEVEL")
      ->group(kOutput);
  root.add_flag("--no-color", flags.no_color, "No colours (also NO_COLOR)")->group(kOutput);
  root.add_flag("--yes", flags.yes, "Answer yes to every question")->group(kOutput);
}

std::vector<std::string> long_flags(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// "kubectl kubedr key".
std::string typed_path(const CLI::App& verb) {
  const std::string path = path_of(verb);
  return path.empty() ? "kubectl kubedr" : "kubectl kubedr " + path;
}

// With what was probably meant, else whose help has more.
Error misunderstood(const std::string& what, const std::string& meant, const CLI::App& verb) {
  if (!meant.empty()) {
    return Error(ErrorKind::usage, fmt::format("{}\n\nDid you mean this?\n  {}", what, meant));
  }
  return Error(ErrorKind::usage, what,
               fmt::format("{} --help shows {}", typed_path(verb),
                           verbs_of(verb).empty() ? "its flags" : "verbs and flags"));
}

// Nothing where all flags are known.
std::optional<Error> unknown_flag(const CLI::App& verb, const std::vector<std::string>& arguments) {
  std::vector<std::string> known;
  for (const CLI::App* app = &verb; app != nullptr; app = app->get_parent()) {
    const std::vector<std::string> own = long_flags(*app);
    known.insert(known.end(), own.begin(), own.end());
  }
  for (const std::string& argument : arguments) {
    const std::string name = argument.substr(0, argument.find('='));
    if (!name.starts_with("--") || name == "--") continue;
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    return misunderstood("unknown flag: " + name, closest(name, known), verb);
  }
  return std::nullopt;
}

// Global flags may stand behind the verb, as with kubectl; and a flag that may be repeated takes
// one value each time: without this, what follows it would be its second one, not the verb's
// argument.
void settle(CLI::App& app, const std::shared_ptr<CLI::FormatterBase>& formatter) {
  for (CLI::Option* option : app.get_options()) {
    if (option->nonpositional()) option->allow_extra_args(false);
  }
  for (CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    verb->fallthrough();
    verb->formatter(formatter);
    settle(*verb, formatter);
  }
}

}  // namespace

void describe_command_line(CLI::App& root, Flags& flags, Action& action) {
  root.name("kubectl kubedr");
  root.description(
      "Backs up etcd and the cluster's certificates to S3, verified and restorable, and keeps the\n"
      "cluster's view of it.");
  root.formatter(std::make_shared<Help>());  // shared: CLI11 takes it so
  root.footer(
      "Examples:\n"
      "  kubectl kubedr install                     # once: the custom resources\n"
      "  kubectl kubedr init local-minio            # once for a BackupLocation\n"
      "  kubectl kubedr backup nightly              # one backup of a MetadataBackupPolicy\n"
      "  kubectl kubedr status                      # is everything in order?\n"
      "  kubectl kubedr restore latest --target ./restored\n\n"
      "`kubectl kubedr VERB --help` shows a verb's own flags and examples.");
  root.require_subcommand(1);
  root.set_help_flag("-h,--help", "Print this help");
  root.set_help_all_flag("");
  add_server_flags(root, flags);
  add_place_flags(root, flags);
  add_output_flags(root, flags);
  add_install(root, action);
  add_uninstall(root, action);
  add_location(root, action);
  add_policy(root, action);
  add_init(root, action);
  add_backup(root, action);
  add_schedule(root, action);
  add_unschedule(root, action);
  add_suspend(root, action);
  add_resume(root, action);
  add_snapshots(root, action);
  add_status(root, action);
  add_doctor(root, action);
  add_metrics(root, action);
  add_restore(root, action);
  add_ls(root, action);
  add_dump(root, action);
  add_check(root, action);
  add_forget(root, action);
  add_prune(root, action);
  add_unlock(root, action);
  add_stats(root, action);
  add_key(root, action);
  add_repair(root, action);
  add_sync(root, action);
  add_version(root, action);
  add_help(root, action);
  add_completion(root, action);
  add_complete(root, action);
  add_docs(root, action);
  settle(root, root.get_formatter());
}

std::vector<std::string> normalize_arguments(int argc, char** argv) {
  std::vector<std::string> arguments;
  if (argc > 1 && std::string_view(argv[1]) == kCompleteVerb) {
    // A line that is being typed is data: nothing of it is a flag of ours.
    arguments = {kCompleteVerb, "-q", "--"};
    arguments.insert(arguments.end(), argv + 2, argv + argc);
    return arguments;
  }
  const bool stands_in = argc > 1 && std::string_view(argv[0]).ends_with("kubedrutil");
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (stands_in && i == 1 && argument == "repoinit") {
      arguments.emplace_back("init");
    } else if (argument == "-v") {
      arguments.emplace_back("--v=1");
    } else if (argument.size() > 2 && argument.find_first_not_of('v', 1) == std::string::npos &&
               argument[0] == '-') {
      arguments.push_back(fmt::format("--v={}", argument.size() - 1));
    } else if (argument.starts_with("-v=")) {
      arguments.push_back("--v=" + argument.substr(3));
    } else {
      arguments.push_back(argument);
    }
  }
  return arguments;
}

Error unknown_verb(const CLI::App& above, const std::string& word) {
  std::vector<std::string> names;
  for (const CLI::App* verb : verbs_of(above)) names.push_back(verb->get_name());
  return misunderstood(fmt::format("unknown command \"{}\" for \"{}\"", word, typed_path(above)),
                       closest(word, names), above);
}

Error explain_parse_error(const CLI::App& root, const CLI::ParseError& error,
                          const std::vector<std::string>& arguments) {
  std::vector<std::string> words = arguments;
  words.emplace_back();  // all of them are finished
  const Line line(root, words);
  const CLI::App& verb = line.verb();
  const bool wants_verb = !verbs_of(verb).empty();
  if (wants_verb && !line.positionals().empty()) {
    return unknown_verb(verb, line.positionals().front());
  }
  if (const auto flag = unknown_flag(verb, arguments)) return *flag;
  if (wants_verb) return misunderstood("which verb?", "", verb);
  const std::size_t wanted = positionals_of(verb).size();
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr &&
      line.positionals().size() > wanted) {
    return misunderstood("unexpected argument: " + line.positionals()[wanted], "", verb);
  }
  return misunderstood(error.what(), "", verb);
}

bool asks_for_json(const std::vector<std::string>& arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "-ojson" || argument == "-o=json" || argument == "--output=json") return true;
    const bool takes_next = argument == "-o" || argument == "--output";
    if (takes_next && i + 1 < arguments.size() && arguments[i + 1] == "json") return true;
  }
  return false;
}

std::chrono::milliseconds parse_flag_duration(const std::string& flag, const std::string& text) {
  const auto duration = parse_duration(text);
  if (duration) return *duration;
  throw Error(ErrorKind::usage, fmt::format("{}: invalid duration \"{}\"", flag, text),
              "give a number of seconds, or a duration such as 90s, 10m, 1h30m");
}

std::uint64_t parse_flag_size(const std::string& flag, const std::string& text) {
  static constexpr std::string_view kUnits = "KMGT";
  std::uint64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string_view unit(rest, static_cast<std::size_t>(text.data() + text.size() - rest));
  std::size_t shift = 0;
  if (!unit.empty() && unit != "B") {
    const auto letter = kUnits.find(static_cast<char>(std::toupper(unit[0])));
    const bool is_unit =
        letter != std::string_view::npos && (unit.size() == 1 || unit.substr(1) == "iB");
    shift = is_unit ? (letter + 1) * 10 : 64;
  }
  if (error == std::errc() && shift < 64 && number <= (UINT64_MAX >> shift)) return number << shift;
  throw Error(ErrorKind::usage, fmt::format("{}: invalid size \"{}\"", flag, text),
              "give a number with K, M, G or T, or KiB, MiB, GiB or TiB");
}

void add_whose_flags(CLI::App& verb, workflow::Whose& whose) {
  verb.add_option("--location", whose.location, "The BackupLocation whose repository is meant");
  verb.add_option("--policy", whose.policy, "The policy whose location, or whose snapshots");
}

void add_filter_flags(CLI::App& verb, FilterFlags& flags, Filtered what) {
  const std::string only = what == Filtered::latest ? "With latest: only" : "Only";
  const auto add = [&](const char* name, std::vector<std::string>& values, const char* text) {
    verb.add_option(name, values, only + text)->take_all()->expected(1);
  };
  const bool is_taken = verb.get_option_no_throw("-H") != nullptr;  // forget --keep-hourly
  add(is_taken ? "--host" : "-H,--host", flags.hosts,
      " this host's; may be repeated, for any of several");
  add("--tag", flags.tags,
      " with all of these tags (comma separated); may be repeated, for any of several lists");
  add("--path", flags.paths, " of this path; may be repeated, for all of several");
}

std::vector<std::vector<std::string>> parse_tag_lists(const std::vector<std::string>& lists) {
  std::vector<std::vector<std::string>> parsed;
  for (const std::string& list : lists) {
    std::vector<std::string>& tags = parsed.emplace_back();
    for (const std::string& tag : split(list, ',')) tags.emplace_back(trim(tag));
  }
  return parsed;
}

workflow::SnapshotFilter filter_of(const FilterFlags& flags) {
  workflow::SnapshotFilter filter{flags.hosts, parse_tag_lists(flags.tags), flags.paths};
  if (filter.hosts == std::vector<std::string>{""}) filter.hosts.clear();  // restic's "any"
  return filter;
}

void add_prune_flags(CLI::App& verb, PruneFlags& flags) {
  verb.add_option("--max-unused", flags.max_unused,
                  "Unused data that may stay: x%, a size, or unlimited; 5% if nothing is said");
  verb.add_option("--max-repack-size", flags.max_repack_size,
                  "Stop after so much data was packed anew, e.g. 2G");
  verb.add_flag("--repack-cacheable-only", flags.repack_cacheable_only,
                "Pack trees anew, but leave data that is still needed where it is");
  verb.add_flag("--repack-small", flags.repack_small, "Join packs below 80 % of their full size");
  verb.add_option("--repack-smaller-than", flags.repack_smaller_than,
                  "Join packs below this size, e.g. 1M")
      ->type_name("SIZE");
}

repo::PruneOptions prune_options_of(const PruneFlags& flags) {
  repo::PruneOptions options;
  options.repack_small = flags.repack_small;
  if (!flags.max_repack_size.empty()) {
    options.max_repack_bytes = parse_flag_size("--max-repack-size", flags.max_repack_size);
  }
  if (!flags.repack_smaller_than.empty()) {
    options.repack_smaller_than =
        parse_flag_size("--repack-smaller-than", flags.repack_smaller_than);
  }
  options.repack_cacheable_only = flags.repack_cacheable_only;
  options.max_unused = {};
  const std::string& unused = flags.max_unused;
  if (unused == "unlimited") return options;
  if (!unused.ends_with('%')) {
    options.max_unused.bytes = parse_flag_size("--max-unused", unused);
    return options;
  }
  double percent = 0;
  const char* end = unused.data() + unused.size() - 1;
  const auto [rest, error] = std::from_chars(unused.data(), end, percent);
  if (error != std::errc() || rest != end || !(percent >= 0) || percent >= 100) {
    throw Error(ErrorKind::usage, fmt::format("--max-unused: invalid percentage \"{}\"", unused),
                "give 0% or more and below 100%, a size, or unlimited");
  }
  options.max_unused.percent = percent;
  return options;
}

}  // namespace kubedr::cmd
