#include "cmd/tree.h"

#include <algorithm>
#include <cctype>

#include "base/text.h"

namespace kubedr::cmd {
namespace {

constexpr char kExamples[] = "Examples:";

// CLI11's own names of C++ types: no words for people.
bool is_type(const std::string& name) {
  static const std::vector<std::string> kTypes = {"",      "TEXT",    "INT",  "UINT",
                                                  "FLOAT", "BOOLEAN", "ENUM", "CHAR"};
  return std::find(kTypes.begin(), kTypes.end(), name) != kTypes.end();
}

bool is_number(const std::string& name) {
  return name == "INT" || name == "UINT" || name == "FLOAT";
}

std::string last_word(const std::string& name) {
  std::string word = name.substr(name.find_last_of('-') + 1);
  for (char& c : word) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return word;
}

}  // namespace

std::vector<const CLI::App*> verbs_of(const CLI::App& verb) {
  return verb.get_subcommands([](const CLI::App* below) { return !below->get_group().empty(); });
}

const CLI::App* verb_named(const CLI::App& verb, const std::string& name) {
  const auto named =
      verb.get_subcommands([&](const CLI::App* below) { return below->get_name() == name; });
  return named.empty() ? nullptr : named.front();
}

std::string path_of(const CLI::App& verb) {
  if (verb.get_parent() == nullptr) return "";
  const std::string above = path_of(*verb.get_parent());
  return above.empty() ? verb.get_name() : above + " " + verb.get_name();
}

std::vector<const CLI::Option*> positionals_of(const CLI::App& verb) {
  return verb.get_options([](const CLI::Option* option) { return option->get_positional(); });
}

std::vector<const CLI::Option*> flags_of(const CLI::App& verb) {
  return verb.get_options([](const CLI::Option* option) { return option->nonpositional(); });
}

std::vector<std::string> names_of(const CLI::Option& flag) {
  std::vector<std::string> names;
  for (const std::string& name : flag.get_snames()) names.push_back("-" + name);
  // `-v` may be repeated, which CLI11 does not know: it is told of `--v` by normalize_arguments.
  for (const std::string& name : flag.get_lnames()) {
    names.push_back((name.size() == 1 ? "-" : "--") + name);
  }
  return names;
}

bool takes_value(const CLI::Option& option) {
  return option.get_items_expected_max() > 0;
}

bool may_repeat(const CLI::Option& option) {
  return option.get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll ||
         option.get_expected_max() > 1;
}

std::string value_name(const CLI::Option& option) {
  if (!takes_value(option)) return "";
  const std::string type = option.get_type_name();
  const std::string name = type.substr(0, type.find(':'));
  if (is_number(name)) return "N";
  if (!is_type(name)) return name;
  if (option.get_positional()) return option.get_name(true);
  return last_word(option.get_lnames().empty() ? option.get_name() : option.get_lnames().front());
}

std::string value_text(const CLI::Option& option) {
  constexpr std::size_t kShort = 36;
  const std::string choices = join(choices_of(option), "|");
  return choices.empty() || choices.size() > kShort ? value_name(option) : choices;
}

// A check of membership describes itself as {a,b,c} behind the type's name.
std::vector<std::string> choices_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const std::size_t begin = type.find(":{");
  if (begin == std::string::npos || type.back() != '}') return {};
  return split(type.substr(begin + 2, type.size() - begin - 3), ',');
}

std::string usage_of(const CLI::App& verb) {
  std::string usage = path_of(verb);
  if (verb.get_require_subcommand_min() > 0) usage += " VERB";
  for (const CLI::Option* option : positionals_of(verb)) {
    const std::string more = may_repeat(*option) ? "..." : "";
    const std::string name = option->get_name(true) + more;
    usage += " " + (option->get_required() ? name : "[" + name + "]");
  }
  return usage + " [flags]";
}

Footer footer_of(const CLI::App& verb) {
  Footer footer;
  bool in_examples = false;
  std::string paragraph;
  for (const std::string& line : split(verb.get_footer() + "\n", '\n')) {
    if (line == kExamples) {
      in_examples = true;
    } else if (line.empty()) {
      if (!paragraph.empty()) footer.paragraphs.push_back(paragraph);
      paragraph.clear();
      in_examples = false;
    } else if (in_examples) {
      footer.examples.push_back(line.substr(std::min<std::size_t>(2, line.size())));
    } else {
      paragraph += (paragraph.empty() ? "" : " ") + line;
    }
  }
  return footer;
}

}  // namespace kubedr::cmd
