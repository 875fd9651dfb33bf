// The manual pages and the completions that are checked in, beside the program that makes them.

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/text.h"
#include "e2e/world.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

namespace fs = std::filesystem;

const fs::path kCheckout = fs::path(KUBEDR_TEST_DATA) / "../..";

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// The verbs, as completion knows them.
std::vector<std::string> verbs() {
  std::vector<std::string> names;
  for (const std::string& line : split(test::kubedr({"__complete", ""}).out, '\n')) {
    if (!line.empty() && line.front() != ':') names.push_back(line.substr(0, line.find('\t')));
  }
  return names;
}

// mandoc looks for a page that is referred to in the system; it may not be installed, but must
// exist.
bool is_ours(const std::string& complaint) {
  constexpr std::string_view kMissing = "referenced manual not found: Xr ";
  const std::size_t found = complaint.find(kMissing);
  if (found == std::string::npos) return false;
  const std::string page = complaint.substr(found + kMissing.size());
  return fs::exists(kCheckout / "man" / (page.substr(0, page.find(' ')) + ".1"));
}

}  // namespace

TEST_CASE("manual: what is checked in is what the program makes") {
  const TempDir made;
  fs::create_directories(made / "tests");
  fs::create_directory_symlink(KUBEDR_TEST_DATA, made / "tests/data");
  const RunResult result = test::kubedr({"__docs", made.path().string()});
  REQUIRE_MESSAGE(result.ok(), result.err);
  for (const char* folder : {"man", "completions"}) {
    const auto ours = files_below(kCheckout / folder);
    const auto fresh = files_below(made / folder);
    REQUIRE_FALSE(fresh.empty());
    for (const auto& [name, text] : fresh) {
      const auto found = ours.find(name);
      CHECK_MESSAGE((found != ours.end() && found->second == text),
                    (std::string(folder) + "/" + name +
                     " is out of date: build/dev/kubectl-kubedr __docs ."));
    }
    CHECK_MESSAGE(ours.size() == fresh.size(), "a file in " << folder << " is nobody's");
  }

  struct stat mode {};

  REQUIRE(stat((kCheckout / "completions/kubectl_complete-kubedr").c_str(), &mode) == 0);
  CHECK((mode.st_mode & S_IXUSR) != 0);
}

TEST_CASE("manual: a page for every verb, and mandoc has nothing to say about any") {
  KUBEDR_NEEDS_PROGRAM("mandoc");
  for (const std::string& verb : verbs()) {
    CHECK_MESSAGE(fs::exists(kCheckout / "man" / ("kubectl-kubedr-" + verb + ".1")), verb);
  }
  for (const auto& entry : fs::directory_iterator(kCheckout / "man")) {
    const RunResult lint = run({"mandoc", "-T", "lint", entry.path().string()});
    for (const std::string& line : split(lint.out + lint.err, '\n')) {
      CHECK_MESSAGE((line.empty() || is_ours(line)), line);
    }
  }
  const RunResult page =
      run({"mandoc", "-T", "ascii", (kCheckout / "man/kubectl-kubedr-backup.1").string()});
  CHECK(has(page.out, "kubectl kubedr backup nightly --etcd-endpoint"));
}

TEST_CASE("manual: the scripts are what `completion` prints, and shellcheck agrees with them") {
  for (const auto& [shell, file] :
       {std::pair{"bash", "kubectl-kubedr.bash"}, std::pair{"zsh", "_kubectl-kubedr"},
        std::pair{"fish", "kubectl-kubedr.fish"},
        std::pair{"kubectl", "kubectl_complete-kubedr"}}) {
    const RunResult printed = test::kubedr({"completion", shell});
    CHECK(printed.ok());
    CHECK(printed.out == read_text(kCheckout / "completions" / file));
  }
  CHECK(test::kubedr({"completion", "tcsh"}).exit.code == 2);
  KUBEDR_NEEDS_PROGRAM("shellcheck");
  for (const char* file : {"kubectl-kubedr.bash", "kubectl_complete-kubedr"}) {
    const RunResult checked = run({"shellcheck", (kCheckout / "completions" / file).string()});
    CHECK_MESSAGE(checked.ok(), checked.out);
  }
}

TEST_CASE("manual: shellcheck agrees with the scripts that build, test and release") {
  KUBEDR_NEEDS_PROGRAM("shellcheck");
  for (const char* file : {"quickstart", ".ci/run", "tests/run", "tests/servers/fetch",
                           "tests/servers/lib.sh", "tests/release/image", "package/check",
                           "package/libraries", "package/release", "package/tarball"}) {
    const RunResult checked =
        run({"shellcheck", "-x", "-P", kCheckout.string(), (kCheckout / file).string()});
    CHECK_MESSAGE(checked.ok(), checked.out << checked.err);
  }
}
