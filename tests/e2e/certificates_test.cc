// Links in a certificates' folder whose targets are out of this user's reach.

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>

#include "e2e/faults.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

namespace fs = std::filesystem;

// As a user whom modes stop: root reads whatever it likes.
RunResult backup_bound_by_modes(const BareRepository& repository, const fs::path& certificates) {
  const TempDir home;
  ProcessOptions options;
  options.env = repository.env();
  options.env["HOME"] = home.path().string();
  std::vector<std::string> argv = {KUBEDR_BINARY,     "backup",
                                   "--repo",          repository.url(),
                                   "--certs-dir",     certificates.string(),
                                   "--etcd-endpoint", plain_etcd().endpoint()};
  if (geteuid() == 0) {
    argv.insert(argv.begin(), {"setpriv", "--bounding-set=-dac_override,-dac_read_search"});
  }
  return run(argv, options);
}

}  // namespace

TEST_CASE("certificates: a link is denied as the file itself would be, by the link's name") {
  KUBEDR_NEEDS("etcd");
  const TempDir folder;
  const BareRepository repository((folder / "repository").string());
  REQUIRE(repository.run({"init"}).ok());
  const fs::path certificates = make_certificates(folder);
  const fs::path target = folder.write("closed/ca.crt", "of somebody else");
  const fs::path link = certificates / "their.crt";
  fs::create_symlink(target, link);

  // The file may not be read, then its folder not be searched.
  for (const fs::path& closed : {target, target.parent_path()}) {
    CAPTURE(closed.string());
    const fs::perms before = fs::status(closed).permissions();
    fs::permissions(closed, fs::perms::none);
    const RunResult backup = backup_bound_by_modes(repository, certificates);
    check_failed(backup, 21, link.string() + ": ");
    CHECK_MESSAGE(has(backup.err, "Permission denied"), backup.err);
    fs::permissions(closed, before);
  }
  CHECK(repository.snapshot_ids().empty());

  fs::remove(target);
  check_failed(backup_bound_by_modes(repository, certificates), 1, link.string() + ": follow link");
}
