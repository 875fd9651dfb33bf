// The hidden verb behind every shell's completion: what the line that is being typed may go on
// with.
//
// shape    in: the words behind the program's name, the last one unfinished, perhaps empty; out: a
//          candidate a line, after a tab what to say about it, and ":N", what the shell shall do
// errors   none: whoever presses a key wants no message, and never to wait
// source   cobra's __complete, which kubectl speaks with plugins

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/line.h"
#include "cmd/tree.h"
#include "cmd/wire.h"
#include "workflow/names.h"

namespace kubedr::cmd {
namespace {

// What the shell shall do with the candidates: cobra's bits.
constexpr int kFiles = 0;
constexpr int kNoFiles = 4;
constexpr int kFoldersOnly = 16;
constexpr int kKeepOrder = 32;

// 200 ms are what a person waits without wondering; starting and the shell need some of them.
constexpr std::chrono::milliseconds kPatience{130};

using workflow::Name;
using workflow::Nameable;

struct Answer {
  std::vector<Name> candidates;
  int directive = kNoFiles;
};

// Which names a value is one of, by what the value is called.
struct Source {
  const char* value;
  Nameable kind;
};

constexpr std::array kSources = {
    Source{"LOCATION", Nameable::location},  Source{"POLICY", Nameable::policy},
    Source{"KIND/NAME", Nameable::resource}, Source{"RECORD", Nameable::record},
    Source{"SNAPSHOT", Nameable::snapshot},  Source{"KEY", Nameable::key},
};

std::optional<Nameable> kind_of(const std::string& value) {
  for (const Source& source : kSources) {
    if (value == source.value) return source.kind;
  }
  return std::nullopt;
}

// What the flags on the line say about where things are, as if they stood alone.
Flags flags_of_line(const Line& line) {
  Flags flags;
  CLI::App root;
  Action ignored;
  describe_command_line(root, flags, ignored);
  std::vector<std::string> arguments{"version"};  // parsed from the back
  for (const auto& [option, value] : line.flags()) {
    const std::string& group = option->get_group();
    if (group != kServer && group != kWhere) continue;
    const std::string name = "--" + option->get_lnames().front();
    arguments.push_back(takes_value(*option) ? name + "=" + value : name);
  }
  root.parse(arguments);
  flags.kube.token = Secret(flags.token);
  flags.kube.password = Secret(flags.password);
  wipe(flags.token.data(), flags.token.size());
  wipe(flags.password.data(), flags.password.size());
  return flags;
}

// Names from a cluster or a bucket that may be far away, or gone. They are asked for in a thread of
// its own: a name server that hangs cannot be ended from outside.
class Search {
 public:
  // `kind` of the repository that the line means.
  Search(const Line& line, Nameable kind, const Context& context)
      : flags_(flags_of_line(line)),
        context_{flags_,         context.environment, context.terminal, context.clock,
                 context.random, context.call,        context.signals},
        kind_(kind),
        whose_{line.value_of("--location"), line.value_of("--policy")} {}

  void run() {
    try {
      const Call call = context_.call.within(kPatience);
      const Wired wired(context_);
      workflow::each_name(
          wired.services(), kind_, whose_, [this](const Name& name) { add(name); }, call);
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): see the head of this file
    }
    const std::lock_guard lock(mutex_);
    over_ = true;
    changed_.notify_all();
  }

  // What was found until then; whether that is all.
  bool wait(std::chrono::milliseconds time, std::vector<Name>& found) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, time, [this] { return over_; });
    found = found_;
    return over_;
  }

 private:
  void add(const Name& name) {
    const std::lock_guard lock(mutex_);
    found_.push_back(name);
  }

  const Flags flags_;
  const Context context_;
  const Nameable kind_;
  const workflow::Whose whose_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Name> found_;  // guarded by mutex_
  bool over_ = false;        // guarded by mutex_
};

// One line of it, and no tab.
std::string one_line(const std::string& text) {
  std::string line = printable(text.substr(0, text.find('\n')));
  std::replace(line.begin(), line.end(), '\t', ' ');
  return line;
}

class Completion {
 public:
  Completion(const Line& line, const Context& context) : line_(line), context_(context) {}

  int run() {
    find();
    context_.print(text());
    if (hanging_) _exit(0);  // the search still uses what this process has
    return 0;
  }

 private:
  void find() {
    if (line_.may_be_flag() && line_.word().starts_with('-')) return find_flags();
    if (line_.may_be_verb()) return find_verbs(line_.verb());
    if (line_.valued() != nullptr) find_values(*line_.valued());
  }

  void find_verbs(const CLI::App& above) {
    for (const CLI::App* verb : verbs_of(above)) {
      add({verb->get_name(), verb->get_description()});
    }
  }

  // For `help`, whose values are verbs.
  void find_verbs_of_root() {
    const CLI::App* verb = line_.verb().get_parent();
    for (const std::string& word : line_.positionals()) {
      if (verb != nullptr) verb = verb_named(*verb, word);
    }
    if (verb != nullptr) find_verbs(*verb);
  }

  void find_flags() {
    for (const CLI::App* app = &line_.verb(); app != nullptr; app = app->get_parent()) {
      for (const CLI::Option* flag : cmd::flags_of(*app)) {
        if (flag->get_group().empty() || (line_.has(flag) && !may_repeat(*flag))) continue;
        for (const std::string& name : names_of(*flag)) add({name, flag->get_description()});
      }
    }
  }

  void find_values(const CLI::Option& option) {
    for (const std::string& choice : choices_of(option)) add({choice, ""});
    const std::string value = value_name(option);
    if (value == "VERB") find_verbs_of_root();
    if (value == "FILE") answer_.directive = kFiles;
    if (value == "FOLDER" || value == "DIR") answer_.directive = kFoldersOnly;
    if (value == "CONTEXT" || value == "CLUSTER" || value == "USER") find_in_kubeconfig(value);
    if (const std::optional<Nameable> kind = kind_of(value)) find_names(*kind);
  }

  void find_in_kubeconfig(const std::string& value) {
    const Flags flags = flags_of_line(line_);
    const kube::ConfigNames names =
        kubeconfig_names({flags, context_.environment, context_.terminal, context_.clock,
                          context_.random, context_.call, context_.signals});
    const auto& list = value == "CONTEXT"   ? names.contexts
                       : value == "CLUSTER" ? names.clusters
                                            : names.users;
    for (const std::string& name : list) add({name, ""});
  }

  void find_names(Nameable kind) {
    answer_.directive = kNoFiles | kKeepOrder;
    // Shared with a thread that may outlive this function, and end with the process only.
    const auto search = std::make_shared<Search>(line_, kind, context_);
    std::thread([search] { search->run(); }).detach();
    std::vector<Name> found;
    hanging_ = !search->wait(kPatience, found);
    for (const Name& name : found) {
      const bool with_kind = name.name.find('/') != std::string::npos;
      if (!with_kind || !line_.word().empty()) add(name);
    }
  }

  void add(const Name& name) {
    const std::vector<std::string>& typed = line_.positionals();
    const bool there = std::find(typed.begin(), typed.end(), name.name) != typed.end();
    if (there || !name.name.starts_with(line_.word()) || !seen_.insert(name.name).second) return;
    answer_.candidates.push_back(name);
  }

  std::string text() const {
    std::string text;
    for (const Name& candidate : answer_.candidates) {
      text += one_line(candidate.name);
      if (!candidate.about.empty()) text += "\t" + one_line(candidate.about);
      text += "\n";
    }
    return text + fmt::format(":{}\n", answer_.directive);
  }

  const Line& line_;
  const Context& context_;
  Answer answer_;
  std::set<std::string> seen_;
  bool hanging_ = false;
};

// A credential plugin shall ask nothing and say nothing into the line that is being typed.
void leave_terminal() {
  const FileDescriptor nothing = open_file("/dev/null", O_RDWR);
  dup2(nothing.get(), STDIN_FILENO);
  dup2(nothing.get(), STDERR_FILENO);
}

int run(const CLI::App& root, const std::vector<std::string>& words, const Context& context) {
  leave_terminal();
  try {
    return Completion(Line(root, words), context).run();
  } catch (const Error&) {  // a kubeconfig that cannot be read has no names
    context.print(fmt::format(":{}\n", kNoFiles));
    return 0;
  }
}

}  // namespace

void add_complete(CLI::App& root, Action& action) {
  CLI::App* verb = root.add_subcommand(kCompleteVerb, "What a line may go on with");
  verb->group("");  // hidden
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto words = std::make_shared<std::vector<std::string>>();
  verb->add_option("WORD", *words, "The line so far");
  verb->callback([&action, &root, words] {
    action = [&root, words](const Context& context) { return run(root, *words, context); };
  });
}

}  // namespace kubedr::cmd
