#include "workflow/doctor.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "base/yaml.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/wire.h"

namespace kubedr::cmd {
namespace {

using workflow::Grade;

struct Arguments {
  std::string policy;
  std::string print;  // "iam" or "rbac": that alone
};

Json result_json(const workflow::DoctorReport& report) {
  Json examined = Json::array();
  for (const workflow::Examined& one : report.examined) {
    examined.push_back({{"verdict", to_string(one.grade)},
                        {"code", one.code},
                        {"object", one.object},
                        {"message", one.message},
                        {"remedy", one.remedy}});
  }
  return {{"policy", report.policy},
          {"location", report.location},
          {"repository", report.repository_url},
          {"examined", examined},
          {"iamPolicy", report.iam.empty() ? Json(nullptr) : report.iam.front()},
          {"rbac", report.rbac}};
}

std::string iam_text(const workflow::DoctorReport& report) {
  return report.iam.empty() ? "" : report.iam.front().dump(2) + "\n";
}

std::string rbac_text(const workflow::DoctorReport& report) {
  std::string text;
  for (const Json& object : report.rbac) text += (text.empty() ? "" : "---\n") + to_yaml(object);
  return text;
}

Colour colour_of(Grade grade) {
  switch (grade) {
  case Grade::good:
    return Colour::green;
  case Grade::warning:
    return Colour::yellow;
  case Grade::error:
    return Colour::red;
  }
  return Colour::plain;
}

std::string examined_text(const workflow::DoctorReport& report, const Context& context) {
  std::string text;
  for (const workflow::Examined& one : report.examined) {
    const std::string grade = context.terminal.paint(colour_of(one.grade), to_string(one.grade));
    text += fmt::format("{}: {}: {}\n", grade, printable(one.object), printable(trim(one.message)));
    if (!one.remedy.empty()) text += fmt::format("  {}\n", printable(one.remedy));
  }
  return text;
}

std::string result_text(const workflow::DoctorReport& report, const Context& context) {
  std::string text = examined_text(report, context);
  const std::string iam = iam_text(report);
  if (!iam.empty()) text += "\nWhat the store's keys must be allowed (IAM):\n" + iam;
  const std::string rbac = rbac_text(report);
  if (!rbac.empty()) text += "\nWhat who takes backups must be allowed (RBAC):\n" + rbac;
  return text;
}

int run(const Arguments& arguments, const Context& context) {
  const Wired wired(context);
  const workflow::DoctorReport report =
      workflow::examine(wired.services(), arguments.policy, context.call);
  if (!arguments.print.empty()) {
    context.print(arguments.print == "iam" ? iam_text(report) : rbac_text(report));
    return 0;
  }
  if (context.flags.output == "name") {
    context.print("metadatabackuppolicy/" + report.policy + "\n");
  } else {
    context.print(context.as_document() ? document(result_json(report), context.flags.output)
                                        : result_text(report, context));
  }
  const bool bad =
      std::any_of(report.examined.begin(), report.examined.end(),
                  [](const workflow::Examined& one) { return one.grade == Grade::error; });
  return bad ? exit_code(ErrorKind::findings) : 0;
}

}  // namespace

void add_doctor(CLI::App& root, Action& action) {
  CLI::App* verb = root.add_subcommand(
      "doctor", "Tries everything that a backup will need, and says what it must be allowed");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  verb->add_option("POLICY", arguments->policy,
                   "The MetadataBackupPolicy; may be left out if there is only one");
  verb->add_option("--print", arguments->print,
                   "Print nothing but the IAM policy of the store's keys (iam), or the roles for "
                   "the API server (rbac)")
      ->check(CLI::IsMember({"iam", "rbac"}));
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr doctor\n"
      "  kubectl kubedr doctor nightly -o json\n"
      "  kubectl kubedr doctor nightly --print rbac | kubectl apply -f -\n"
      "  kubectl kubedr doctor nightly --print iam > policy.json\n\n"
      "Exit codes: 0 a backup will work, 5 it will not, 20 and 21 the cluster could not be asked.");
  on_parsed(*verb, action, arguments, run);
}

}  // namespace kubedr::cmd
