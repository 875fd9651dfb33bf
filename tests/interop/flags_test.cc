// The verbs that we have from restic take its flags, by its names: what `restic VERB --help` of
// 0.18 lists is ours too, short form included, or stands here among what was decided otherwise.

#include <doctest/doctest.h>

#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "base/text.h"
#include "e2e/world.h"
#include "interop/shared_repository.h"
#include "support/restic.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

// "--repo", and "-r" where it has a short form.
using LongToShort = std::map<std::string, std::string>;

struct Exception {
  const char* verb;  // empty: of every verb
  std::vector<std::string> flags;
};

const std::vector<std::string> kVerbs = {
    "backup", "check", "dump",  "forget",       "init",    "key add",   "key list", "key remove",
    "ls",     "prune", "stats", "repair index", "restore", "snapshots", "unlock",   "version"};

// Flags that we do not have.
const std::vector<std::pair<const char*, std::vector<Exception>>> kNotOurs = {
    {"the location's Secret and the environment say how a repository is reached and opened",
     {{"",
       {"--cacert", "--http-user-agent", "--insecure-no-password", "--insecure-tls", "--key-hint",
        "--password-command", "--password-file", "--repository-file", "--tls-client-cert"}},
      {"key add", {"--new-insecure-no-password"}}}},
    {"other backends' options", {{"", {"--option"}}}},
    {"`-o json` says it, as with kubectl", {{"", {"--json"}}}},
    {"-v, -vv and -v=N, as with kubectl", {{"", {"--verbose"}}}},
    {"decided: bounds and timeouts are the same everywhere, and what is sealed is always verified",
     {{"",
       {"--compression", "--limit-download", "--limit-upload", "--no-extra-verify", "--pack-size",
        "--stuck-request-timeout"}}}},
    {"decided: the cache is below XDG_CACHE_HOME, holds its own copies only, and check passes it "
     "by",
     {{"", {"--cache-dir", "--cleanup-cache"}}, {"check", {"--with-cache"}}}},
    {"a backup is of etcd and the certificates: no files are chosen, and parents go by policy",
     {{"backup",
       {"--exclude",
        "--exclude-caches",
        "--exclude-file",
        "--exclude-if-present",
        "--exclude-larger-than",
        "--files-from",
        "--files-from-raw",
        "--files-from-verbatim",
        "--group-by",
        "--iexclude",
        "--iexclude-file",
        "--ignore-ctime",
        "--ignore-inode",
        "--no-scan",
        "--one-file-system",
        "--parent",
        "--read-concurrency",
        "--skip-if-unchanged",
        "--stdin",
        "--stdin-filename",
        "--stdin-from-command",
        "--time",
        "--with-atime"}}}},
    {"no second repository: there is no copy",
     {{"init",
       {"--copy-chunker-params", "--from-insecure-no-password", "--from-key-hint",
        "--from-password-command", "--from-password-file", "--from-repo",
        "--from-repository-file"}}}},
    {"decided: a folder is dumped as tar", {{"dump", {"--archive"}}}},
    {"decided: a snapshot is one line anyway, and its policy is a column",
     {{"forget", {"--compact"}}, {"snapshots", {"--compact", "--group-by"}}}},
    {"decided: a listing is for people or -o json", {{"ls", {"--ncdu"}}}},
    {"decided: a restore deletes nothing", {{"restore", {"--delete"}}}},
    {"extended attributes are not restored", {{"restore", {"--exclude-xattr", "--include-xattr"}}}},
    {"decided: data that does not get smaller is stored as it is, so this would never be done",
     {{"forget", {"--repack-uncompressed"}}, {"prune", {"--repack-uncompressed"}}}},
    {"decided: a prune never removes data before its copy is stored",
     {{"prune", {"--unsafe-recover-no-free-space"}}}},
};

// Flags that we have without restic's short form.
const std::vector<std::pair<const char*, std::vector<Exception>>> kNotShort = {
    {"-n is the namespace, as with kubectl",
     {{"backup", {"--dry-run"}}, {"forget", {"--dry-run"}}, {"prune", {"--dry-run"}}}},
    {"--force takes a backup beside an operator's job; restic's, of no parent, is not needed",
     {{"backup", {"--force"}}}},
    {"-s is the API server's address, as with kubectl", {{"ls", {"--sort"}}}},
};

LongToShort flags_in(const std::string& help) {
  static const std::regex kFlag(R"(^ {2,6}(?:-(\w),? ?)?--([a-z][a-z-]+)\b)");
  LongToShort flags;
  for (const std::string& line : split(help, '\n')) {
    std::smatch match;
    if (std::regex_search(line, match, kFlag)) flags["--" + match[2].str()] = match[1].str();
  }
  return flags;
}

std::vector<std::string> asking_for_help(const std::string& verb) {
  std::vector<std::string> args = verb.empty() ? std::vector<std::string>() : split(verb, ' ');
  args.emplace_back("--help");
  return args;
}

// With the flags of all verbs, which our help lists only once.
LongToShort ours(const std::string& verb) {
  LongToShort flags = flags_in(test::kubedr(asking_for_help(verb)).out);
  flags.merge(flags_in(test::kubedr(asking_for_help("")).out));
  return flags;
}

LongToShort theirs(const std::string& verb) {
  return flags_in(restic("0.18", asking_for_help(verb)).out);
}

// "forget --compact"; of all verbs " --json".
std::set<std::string> listed(
    const std::vector<std::pair<const char*, std::vector<Exception>>>& groups) {
  std::set<std::string> names;
  for (const auto& [reason, exceptions] : groups) {
    for (const Exception& exception : exceptions) {
      for (const std::string& flag : exception.flags) {
        CAPTURE(flag);
        CHECK(names.insert(exception.verb + (" " + flag)).second);
      }
    }
  }
  return names;
}

}  // namespace

TEST_CASE("flags: what restic has is ours, or was decided otherwise") {
  KUBEDR_NEEDS("restic-0.18");
  const std::set<std::string> not_ours = listed(kNotOurs);
  const std::set<std::string> not_short = listed(kNotShort);
  std::set<std::string> used;
  const auto is_listed = [&](const std::set<std::string>& names, const std::string& verb,
                             const std::string& flag) {
    for (const std::string& name : {verb + " " + flag, " " + flag}) {
      if (names.count(name) == 0) continue;
      used.insert(name);
      return true;
    }
    return false;
  };
  for (const std::string& verb : kVerbs) {
    CAPTURE(verb);
    const LongToShort wanted = theirs(verb);
    const LongToShort found = ours(verb);
    REQUIRE(wanted.count("--repo") == 1);  // the global ones are among them
    REQUIRE(found.count("--repo") == 1);
    for (const auto& [flag, short_form] : wanted) {
      CAPTURE(flag);
      const auto our = found.find(flag);
      const bool is_ours = our != found.end();
      CHECK(is_ours != is_listed(not_ours, verb, flag));
      if (!is_ours || short_form.empty()) continue;
      CHECK((our->second == short_form) != is_listed(not_short, verb, flag));
    }
  }
  for (const std::set<std::string>* names : {&not_ours, &not_short}) {
    for (const std::string& name : *names) {
      CAPTURE(name);
      CHECK_MESSAGE(used.count(name) == 1, "restic has no such flag any more");
    }
  }
}
