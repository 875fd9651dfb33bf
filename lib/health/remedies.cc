#include "health/remedies.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/text.h"

namespace kubedr::health {
namespace {

using Keys = std::vector<std::string>;

// From files of those names, so that no value is in a command line.
std::string secret_of_files(const std::string& name_space, const std::string& secret,
                            const Keys& keys) {
  std::string files;
  for (const std::string& key : keys) files += " --from-file=" + key;
  return fmt::format("kubectl -n {} create secret generic {}{} --dry-run=client -o yaml",
                     name_space, shell_word(secret), files);
}

std::string secret_command(const std::string& name_space, const std::string& secret,
                           const Keys& keys) {
  return fmt::format("{} | kubectl -n {} apply -f -", secret_of_files(name_space, secret, keys),
                     name_space);
}

// Of a Secret that is there: what else it has stays.
std::string secret_patch_command(const crd::Location& location, const Keys& keys) {
  const std::string& name_space = location.ref.name_space;
  const std::string& secret = location.credentials;
  return fmt::format("{} | kubectl -n {} patch secret {} --patch-file /dev/stdin",
                     secret_of_files(name_space, secret, keys), name_space, shell_word(secret));
}

bool has_key(const SeenRepository& seen, const std::string& key) {
  return std::find(seen.secret_keys.begin(), seen.secret_keys.end(), key) != seen.secret_keys.end();
}

Keys missing_keys(const SeenRepository& seen) {
  Keys missing;
  for (const char* key : {"access_key", "secret_key", "restic_repo_password"}) {
    if (!has_key(seen, key)) missing.emplace_back(key);
  }
  return missing;
}

// What of its Secret a store refuses, by the word that S3, or TLS, has for it. Nothing: the keys
// are good, and may not do what was asked for.
Keys refused_keys(const SeenRepository& seen) {
  static const std::pair<const char*, Keys> kWords[] = {
      {"InvalidAccessKeyId", {"access_key", "secret_key"}},
      {"SignatureDoesNotMatch", {"access_key", "secret_key"}},
      {"InvalidToken", {"access_key", "secret_key", "session_token"}},  // MinIO's: InvalidTokenId
      {"ExpiredToken", {"access_key", "secret_key", "session_token"}},
      {"AuthorizationHeaderMalformed", {"region"}},
      {"certificate is not trusted", {"ca.crt"}}};
  for (const auto& [word, keys] : kWords) {
    if (seen.problem.find(word) == std::string::npos) continue;
    Keys all = keys;
    // Temporary keys come as three that belong together.
    const bool temporary = keys.size() == 2 && has_key(seen, "session_token");
    if (temporary) all.emplace_back("session_token");
    return all;
  }
  return {};
}

// The command for what is wrong with the Secret; empty where it is not to blame.
std::string of_its_secret(const crd::Location& location, const SeenRepository& seen) {
  Keys keys;
  if (seen.problem_kind == ErrorKind::denied) keys = refused_keys(seen);
  if (seen.problem_kind == ErrorKind::wrong_password) keys = {"restic_repo_password"};
  if (seen.problem_kind == ErrorKind::not_found) keys = missing_keys(seen);
  if (keys.empty()) return "";
  const bool there = !seen.secret_keys.empty();
  return there ? secret_patch_command(location, keys)
               : secret_command(location.ref.name_space, location.credentials, keys);
}

std::string patch_command(const std::string& name_space, const std::string& object,
                          const Json& spec) {
  return fmt::format("kubectl -n {} patch {} --type merge -p {}", name_space, object,
                     shell_word(Json({{"spec", spec}}).dump()));
}

}  // namespace

// As it is typed: whoever is told no namespace looks into the default one, where another object
// may have the same name.
std::string Remedies::command(const std::string& words, const crd::ObjectRef& ref) const {
  return in_namespace("kubectl kubedr " + words, ref);
}

std::string Remedies::in_namespace(const std::string& remedy, const crd::ObjectRef& ref) const {
  const bool said = !fleet_.all_namespaces && ref.name_space == crd::kDefaultNamespace;
  const bool needed = !said && !ref.name_space.empty() && !fleet_.without_cluster;
  const bool typed = remedy.starts_with("kubectl kubedr ");
  return remedy + (needed && typed ? " -n " + ref.name_space : "");
}

std::string Remedies::of_location(const std::string& words, const crd::ObjectRef& ref) const {
  return command(words + " --location " + ref.name, ref);
}

std::string Remedies::backup(const crd::Policy& policy, const std::string& flags) const {
  return command("backup " + policy.ref.name + flags, policy.ref);
}

// Manifests are edited where they are.
std::string Remedies::edit(const std::string& name_space, const std::string& object) const {
  if (fleet_.without_cluster) return "";
  return fmt::format("kubectl -n {} edit {}", name_space, object);
}

std::string Remedies::repository(const crd::Location& location, const SeenRepository& seen) const {
  if (seen.problem_kind == ErrorKind::no_repository) {
    return command("init " + location.ref.name, location.ref);
  }
  const bool in_cluster = !fleet_.without_cluster;
  const std::string of_secret = in_cluster ? of_its_secret(location, seen) : "";
  if (!of_secret.empty()) return of_secret;
  if (in_cluster && seen.problem_kind == ErrorKind::denied) {
    return examine(location, " --print iam");
  }
  if (!seen.remedy.empty()) return seen.remedy;
  return in_cluster ? examine(location) : "";
}

// Tries everything that the location is needed for, and says what is in the way.
std::string Remedies::examine(const crd::Location& location, const std::string& flags) const {
  for (const crd::Policy& policy : fleet_.policies) {
    const SeenLocation* its = location_of(fleet_, policy);
    if (its == nullptr || its->location.ref.name != location.ref.name ||
        its->location.ref.name_space != location.ref.name_space) {
      continue;
    }
    return command("doctor " + policy.ref.name + flags, policy.ref);
  }
  return of_location("check", location.ref);
}

// That of another policy's CronJob of ours; else whoever types it has to know.
std::string Remedies::image_for(const crd::Policy& policy) const {
  for (const SeenSchedule& seen : fleet_.schedules) {
    if (seen.name_space == policy.ref.name_space && !seen.image.empty()) return seen.image;
  }
  return "IMAGE";
}

std::string Remedies::first_schedule(const crd::Policy& policy) const {
  return command("schedule " + policy.ref.name + " --image " + shell_word(image_for(policy)),
                 policy.ref);
}

// Somebody else's CronJob is not replaced by ours for that.
std::string Remedies::schedule(const crd::Policy& policy, const SeenSchedule& seen) const {
  if (!seen.foreign) return command("schedule " + policy.ref.name, policy.ref);
  const Json spec = {{"schedule", policy.schedule}, {"suspend", policy.suspend}};
  return patch_command(policy.ref.name_space, "cronjob " + seen.cron_job, spec);
}

std::string Remedies::certificates(const crd::Policy& policy) const {
  const std::string again = backup(policy);
  if (fleet_.without_cluster || !policy.certs_dir.empty()) return again;
  return patch_command(policy.ref.name_space, policy.ref.display(), {{"certsDir", "DIR"}}) +
         " && " + again;
}

std::string Remedies::etcd_secret(const crd::Policy& policy) {
  return secret_command(policy.ref.name_space, policy.etcd_creds,
                        {"ca.crt", "client.crt", "client.key"});
}

}  // namespace kubedr::health
