// What is handed out: the archive with its krew manifest, and the Debian package. Each is installed
// where nothing else is, and used from there.

#include <doctest/doctest.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "base/text.h"
#include "base/yaml.h"
#include "e2e/desk.h"
#include "e2e/world.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;
using std::chrono::minutes;

namespace {

namespace fs = std::filesystem;

const fs::path kCheckout = fs::path(KUBEDR_TEST_DATA) / "../..";
const fs::path kBuild = fs::path(KUBEDR_BINARY).parent_path();

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string text_at(const Json& object, std::initializer_list<const char*> path) {
  return find_string(object, path).value_or("");
}

RunResult done(const std::vector<std::string>& argv, const ProcessOptions& options = {}) {
  RunResult result = run(argv, options, minutes(3));
  REQUIRE_MESSAGE(result.ok(), (result.out + result.err));
  return result;
}

Json parse_manifest(const fs::path& file) {
  const std::vector<Json> documents = parse_yaml(read_text(file), file.string());
  REQUIRE(documents.size() == 1);
  return documents.front();
}

// krew's rules, as its validation and its index's reviewers have them.
void check_manifest(const Json& manifest) {
  CHECK(text_at(manifest, {"apiVersion"}) == "krew.googlecontainertools.github.com/v1alpha2");
  CHECK(text_at(manifest, {"kind"}) == "Plugin");
  CHECK(text_at(manifest, {"metadata", "name"}) == "kubedr");
  CHECK(std::regex_match(text_at(manifest, {"spec", "version"}),
                         std::regex(R"(v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?)")));
  const std::string tagline = text_at(manifest, {"spec", "shortDescription"});
  CHECK_FALSE(tagline.empty());
  CHECK(tagline.size() <= 50);
  CHECK_FALSE(has(tagline, "\n"));
  CHECK_FALSE(tagline.ends_with('.'));
  CHECK_FALSE(text_at(manifest, {"spec", "description"}).empty());
  CHECK(text_at(manifest, {"spec", "homepage"}).starts_with("https://"));
  const Json& platforms = manifest.at("spec").at("platforms");
  REQUIRE_FALSE(platforms.empty());
  std::set<std::string> seen;
  for (const Json& platform : platforms) {
    const Json& labels = platform.at("selector").at("matchLabels");
    CHECK(labels.size() == 2);
    const std::string name = text_at(labels, {"os"}) + "_" + text_at(labels, {"arch"});
    CHECK(seen.insert(name).second);
    const std::string uri = text_at(platform, {"uri"});
    CHECK(uri.starts_with("https://"));
    CHECK(uri.ends_with(
        fmt::format("kubectl-kubedr_{}_{}.tar.gz", text_at(manifest, {"spec", "version"}), name)));
    CHECK(std::regex_match(text_at(platform, {"sha256"}), std::regex("[0-9a-f]{64}")));
    CHECK(text_at(platform, {"bin"}) == "kubectl-kubedr");
  }
}

// A folder of krew's: store/kubedr/VERSION with what was unpacked, bin/kubectl-kubedr as a link.
fs::path install_as_krew(const Json& manifest, const fs::path& archive, const TempDir& root) {
  const Json& platform = manifest.at("spec").at("platforms").at(0);
  const std::string sum = done({"sha256sum", archive.string()}).out.substr(0, 64);
  CHECK(sum == text_at(platform, {"sha256"}));
  const fs::path store = root / ("store/kubedr/" + text_at(manifest, {"spec", "version"}));
  fs::create_directories(store);
  fs::create_directories(root / "bin");
  for (const std::string& line : split(done({"tar", "-tvzf", archive.string()}).out, '\n')) {
    // Anything else than files and folders is refused, and so are names that lead out.
    CHECK_MESSAGE((line.empty() || line.front() == '-' || line.front() == 'd'), line);
    CHECK_MESSAGE((!has(line, " /") && !has(line, "..")), line);
  }
  done({"tar", "-xzf", archive.string(), "-C", store.string()});
  fs::create_symlink(store / text_at(platform, {"bin"}), root / "bin/kubectl-kubedr");
  return store;
}

}  // namespace

TEST_CASE("krew: the manifest keeps its rules, and names this version") {
  const Json manifest = parse_manifest(kCheckout / "plugin-manifest/kubedr.yaml");
  check_manifest(manifest);
  const Json version = parsed(test::kubedr({"version", "-o", "json"}));
  CHECK(text_at(manifest, {"spec", "version"}) == "v" + text_at(version, {"version"}));
}

TEST_CASE("krew: installed as krew does it, the plugin works under kubectl") {
  KUBEDR_NEEDS("kubectl");
  const TempDir made;
  const TempDir root;
  const std::string archive = std::string(trim(
      done({(kCheckout / "package/tarball").string(), KUBEDR_BINARY, made.path().string()}).out));
  const Json manifest = parse_manifest(made / "kubedr.yaml");
  check_manifest(manifest);
  const fs::path store = install_as_krew(manifest, archive, root);
  CHECK(fs::exists(store / "LICENSE"));
  CHECK(fs::exists(store / "man/kubectl-kubedr.1"));
  CHECK(files_below(store / "completions") == files_below(kCheckout / "completions"));

  ProcessOptions options;
  options.env = {{"PATH", (root / "bin").string() + ":/usr/bin:/bin"},
                 {"HOME", root.path().string()}};
  const std::string kubectl = find_server("kubectl").string();
  CHECK(has(done({kubectl, "plugin", "list"}, options).out, "kubectl-kubedr"));
  CHECK(done({kubectl, "kubedr", "version"}, options).out.starts_with("kubectl-kubedr "));
  CHECK(has(done({kubectl, "kubedr", "backup", "--help"}, options).out,
            "Usage:\n  kubectl kubedr backup"));
  // What the caveats tell the user to do.
  done({"sh", "-c",
        kubectl + " kubedr completion kubectl > bin/kubectl_complete-kubedr; "
                  "chmod +x bin/kubectl_complete-kubedr"},
       [&] {
         ProcessOptions there = options;
         there.cwd = root.path();
         return there;
       }());
  CHECK(has(done({kubectl, "__complete", "kubedr", "ver"}, options).out, "version\t"));
}

TEST_CASE("archive: the same input makes the same bytes") {
  const TempDir once;
  const TempDir again;
  for (const TempDir* folder : {&once, &again}) {
    done({(kCheckout / "package/tarball").string(), KUBEDR_BINARY, folder->path().string()});
  }
  CHECK(files_below(once.path()) == files_below(again.path()));
  const std::string sums = files_below(once.path()).begin()->first + ".sha256";
  ProcessOptions options;
  options.cwd = once.path();
  CHECK(has(done({"sha256sum", "-c", sums}, options).out, ": OK"));
}

namespace {

// As shells find them there without being told; no cluster.
void press_keys_of_installed(const fs::path& root) {
  KUBEDR_NEEDS("kubectl");
  Desk desk({"kubectl"});
  fs::remove(desk.home() / "bin/kubectl-kubedr");
  auto& env = desk.options().env;
  env["PATH"] = (root / "usr/bin").string() + ":" + env["PATH"];
  env["XDG_DATA_DIRS"] = (root / "usr/share").string() + ":/usr/share";
  CHECK(has(desk.typed("kubectl __complete kubedr snap"), "snapshots\t"));
  const auto press = [&](const std::string& shell, const std::vector<std::string>& flags,
                         const std::string& setup) {
    if (!have_program(shell)) return;
    std::vector<std::string> argv{shell};
    argv.insert(argv.end(), flags.begin(), flags.end());
    CAPTURE(shell);
    Shell(argv, desk, setup).check("kubectl-kubedr snap\t--la\t", "--latest");
  };
  press("bash", {"--norc", "-i"}, "source /usr/share/bash-completion/bash_completion");
  press("zsh", {"-f", "-i"},
        "fpath=(" + (root / "usr/share/zsh/vendor-completions").string() +
            " $fpath); autoload -U compinit; compinit -D -u");
  press("fish", {"--no-config", "-i"},
        "set -p fish_complete_path " + (root / "usr/share/fish/vendor_completions.d").string());
}

}  // namespace

TEST_CASE("deb: it is made, lintian agrees, and it installs, runs and goes without a trace") {
  KUBEDR_NEEDS_PROGRAM("cpack");
  KUBEDR_NEEDS_PROGRAM("dpkg-shlibdeps");
  KUBEDR_NEEDS_PROGRAM("lintian");
  const TempDir made;
  done({"cpack", "--config", (kBuild / "CPackConfig.cmake").string(), "-B", made.path().string()});
  std::string package;
  for (const auto& entry : fs::directory_iterator(made.path())) {
    if (entry.path().extension() == ".deb") package = entry.path().string();
  }
  REQUIRE_FALSE(package.empty());
  const RunResult lint =
      run({"lintian", "--allow-root", "--fail-on", "error,warning", package}, {}, minutes(2));
  CHECK_MESSAGE(lint.ok(), (lint.out + lint.err));
  CHECK_MESSAGE(lint.out.empty(), lint.out);

  KUBEDR_NEEDS_RIGHT(geteuid() == 0, "install with dpkg");
  const TempDir root;
  fs::create_directories(root / "var/lib/dpkg/updates");
  fs::create_directories(root / "var/lib/dpkg/info");
  root.write("var/lib/dpkg/status", "");
  const std::vector<std::string> dpkg{"dpkg", "--root", root.path().string(), "--force-depends",
                                      "--force-script-chrootless"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), dpkg.begin(), dpkg.end());
    return more;
  };
  done(with({"--install", package}));
  const RunResult version = done({(root / "usr/bin/kubectl-kubedr").string(), "version"});
  CHECK(version.out == test::kubedr({"version"}).out);
  CHECK(fs::exists(root / "usr/share/man/man1/kubectl-kubedr-backup.1.gz"));
  press_keys_of_installed(root.path());

  struct stat mode {};

  REQUIRE(stat((root / "usr/bin/kubectl_complete-kubedr").c_str(), &mode) == 0);
  CHECK((mode.st_mode & 0777) == 0755);
  done(with({"--purge", "kubectl-kubedr"}));
  CHECK_FALSE(fs::exists(root / "usr"));
}
