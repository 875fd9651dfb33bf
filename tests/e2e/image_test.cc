// The container image: what is in it, and that it is made of its input alone.

#include "support/image.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <set>

#include "e2e/world.h"

using namespace kubedr;
using namespace kubedr::test;

TEST_CASE("image: the program, what it needs to start, and nothing to get in with") {
  const Image image(KUBEDR_BINARY);
  const auto files = files_below(image.root());
  CHECK(files.count("usr/local/bin/kubectl-kubedr") == 1);
  CHECK(files.at("usr/local/bin/kubedrutil") == "-> kubectl-kubedr");
  CHECK(files.count("etc/ssl/certs/ca-certificates.crt") == 1);
  const std::set<std::string> known = {"kubectl-kubedr", "kubedrutil", "ca-certificates.crt",
                                       "passwd", "group"};
  for (const auto& [name, content] : files) {
    const std::string file = std::filesystem::path(name).filename().string();
    CAPTURE(name);
    CHECK((known.count(file) == 1 || file.find(".so") != std::string::npos));
  }
  CHECK(image.settings().at("Cmd") == Json::array({"kubectl-kubedr", "--help"}));
  CHECK_FALSE(image.settings().contains("Entrypoint"));

  // It starts there, where nothing else is, under both of its names.
  std::vector<std::string> chroot = {"chroot", image.root().string()};
  if (::geteuid() != 0) chroot.insert(chroot.begin(), {"unshare", "--map-root-user"});
  const auto inside = [&](const std::string& program, const std::vector<std::string>& args) {
    std::vector<std::string> argv = chroot;
    argv.push_back("/usr/local/bin/" + program);
    argv.insert(argv.end(), args.begin(), args.end());
    return run(argv);
  };
  CHECK(inside("kubectl-kubedr", {"backup", "--help"}).ok());
  const std::string usage = "Usage:\n  kubectl kubedr init [LOCATION]";
  CHECK(inside("kubedrutil", {"repoinit", "--help"}).out.find(usage) != std::string::npos);
  CHECK(inside("kubectl-kubedr", {"repoinit"}).exit.code == 2);
}

TEST_CASE("image: the same program gives the same bytes") {
  const Image one(KUBEDR_BINARY);
  const Image other(KUBEDR_BINARY);
  CHECK((read_text(one.archive()) == read_text(other.archive())));
}
